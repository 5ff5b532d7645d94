import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.GZIPOutputStream;

/** An inventory on the JDK's own server, as a careful team writes it, with one switch for each fault (BLIND_FAULT). */
public final class Inventory {
    static final String FAULT = System.getenv().getOrDefault("BLIND_FAULT", "");
    static final int MAX_BODY = 64 * 1024;
    static final Map<String, Integer> LEVELS = Map.of("debug", 10, "info", 20, "warn", 30, "error", 40);
    static final byte[] PNG = Base64.getDecoder().decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg==");
    static final Map<Integer, String> CODES = Map.ofEntries(
        Map.entry(400, "bad_request"), Map.entry(401, "unauthorized"), Map.entry(403, "forbidden"), Map.entry(404, "not_found"),
        Map.entry(405, "method_not_allowed"), Map.entry(409, "conflict"), Map.entry(413, "too_large"), Map.entry(415, "unsupported_media_type"),
        Map.entry(422, "invalid"), Map.entry(429, "rate_limited"), Map.entry(500, "internal"), Map.entry(501, "not_implemented"), Map.entry(503, "unavailable"));
    static final double[] EDGES = {0.005, 0.025, 0.1, 0.5, 2.5, 10};
    static final Map<String, List<String>> ROUTES = new LinkedHashMap<>();
    static final List<String> KNOWN = List.of("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE");

    static {
        ROUTES.put("/api/items", List.of("GET", "POST"));
        ROUTES.put("/api/items/{id}", List.of("GET", "PUT", "DELETE"));
        ROUTES.put("/api/login", List.of("POST"));
        for (String path : List.of("/api/slow", "/api/fails", "/api/catalogue", "/api/events", "/picture.png", "/", "/openapi.json", "/health/live", "/health/ready", "/metrics"))
            ROUTES.put(path, List.of("GET"));
    }

    static boolean faulty(String name) { return FAULT.equals(name); }

    // -- configuration ---------------------------------------------------------------------------------

    static int port, level = 20, limit, window;
    static double delay;
    static String secret;
    static List<String> origins;
    static Store store;
    static volatile boolean draining;

    static String env(String name, String otherwise) { return System.getenv().getOrDefault(name, otherwise); }

    static List<String> configure() {
        List<String> mistakes = new ArrayList<>();
        String wanted = env("PORT", "8000");
        port = wanted.matches("\\d{1,5}") ? Integer.parseInt(wanted) : 0;
        if (port < 1 || port > 65535) mistakes.add("PORT must be a whole number from 1 to 65535");
        secret = env("APP_SECRET", "");
        boolean weak = secret.toLowerCase().matches(".*(change|secret|password).*") || secret.chars().distinct().count() < 6;
        if (secret.isEmpty()) mistakes.add("APP_SECRET is required");
        else if (secret.length() < 16 || (weak && !faulty("java-env-weak-long"))) mistakes.add("APP_SECRET must have 16 characters or more that nobody guesses");
        Integer known = LEVELS.get(env("LOG_LEVEL", "info").toLowerCase());
        if (known == null) mistakes.add("LOG_LEVEL must be debug, info, warn or error");
        else level = known;
        String rate = env("RATE_LIMIT", "600/60");
        if (!rate.matches("\\d{1,9}/[1-9]\\d{0,5}")) mistakes.add("RATE_LIMIT must be requests/seconds, such as 600/60");
        else {
            limit = Integer.parseInt(rate.split("/")[0]);
            window = Integer.parseInt(rate.split("/")[1]);
        }
        String wait = env("DRAIN_DELAY", "5");
        if (!wait.matches("\\d{1,2}(\\.\\d+)?")) mistakes.add("DRAIN_DELAY must be a number of seconds");
        else delay = Double.parseDouble(wait);
        origins = Arrays.stream(env("ALLOWED_ORIGINS", "").split(",")).filter(each -> !each.isEmpty()).toList();
        return mistakes;
    }

    // -- records and numbers ---------------------------------------------------------------------------

    static synchronized void record(String name, String message, Object... more) {
        if (LEVELS.get(name) < level) return;
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("time", Instant.now().toString());
        entry.put("level", name);
        entry.put("message", message);
        for (int each = 0; each < more.length; each += 2) entry.put((String) more[each], more[each + 1]);
        byte[] line = (Json.write(entry) + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(line, 0, line.length);
        System.out.flush();
    }

    static final AtomicInteger flying = new AtomicInteger();
    static final AtomicInteger busy = new AtomicInteger();
    static final TreeMap<String, double[]> series = new TreeMap<>();

    static void count(String method, String route, int status, double seconds) {
        String key = String.format("method=\"%s\",route=\"%s\",status=\"%d\"", KNOWN.contains(method) ? method : "other", route, status);
        synchronized (series) {
            double[] numbers = series.computeIfAbsent(key, each -> new double[2 + EDGES.length]);
            numbers[0] += 1;
            numbers[1] += seconds;
            for (int each = 0; each < EDGES.length; each++) if (seconds <= EDGES[each]) numbers[2 + each] += 1;
        }
    }

    static Reply metrics() {
        StringBuilder total = new StringBuilder("# HELP http_requests_total Requests that were answered.\n# TYPE http_requests_total counter\n");
        StringBuilder times = new StringBuilder("# HELP http_request_duration_seconds Time to answer.\n# TYPE http_request_duration_seconds histogram\n");
        synchronized (series) {
            series.forEach((key, numbers) -> {
                total.append(String.format("http_requests_total{%s} %.0f\n", key, numbers[0]));
                for (int each = 0; each < EDGES.length; each++)
                    times.append(String.format("http_request_duration_seconds_bucket{%s,le=\"%s\"} %.0f\n", key, EDGES[each], numbers[2 + each]));
                times.append(String.format("http_request_duration_seconds_bucket{%s,le=\"+Inf\"} %.0f\n", key, numbers[0]));
                times.append(String.format("http_request_duration_seconds_sum{%s} %.6f\nhttp_request_duration_seconds_count{%s} %.0f\n", key, numbers[1], key, numbers[0]));
            });
        }
        String gauge = "# HELP http_requests_in_flight Requests being answered.\n# TYPE http_requests_in_flight gauge\nhttp_requests_in_flight " + flying.get() + "\n";
        return new Reply(200, "text/plain; version=0.0.4; charset=utf-8", total.append(times).append(gauge).toString().getBytes(StandardCharsets.UTF_8)).with("Cache-Control", "no-store");
    }

    // -- one request -----------------------------------------------------------------------------------

    static final class Problem extends Exception {
        final int status;
        final List<Map<String, Object>> errors;
        final Map<String, String> fields = new LinkedHashMap<>();

        Problem(int status, String detail, List<Map<String, Object>> errors) {
            super(detail);
            this.status = status;
            this.errors = errors;
        }

        Problem(int status, String detail) { this(status, detail, null); }

        Problem with(String name, String value) {
            fields.put(name, value);
            return this;
        }
    }

    static final class Reply {
        final int status;
        final String media;
        final byte[] body;
        final Map<String, String> fields = new LinkedHashMap<>();
        boolean tagged;

        Reply(int status, String media, byte[] body) {
            this.status = status;
            this.media = media;
            this.body = body;
        }

        static Reply json(int status, Object value) {
            return new Reply(status, "application/json", Json.write(value).getBytes(StandardCharsets.UTF_8)).with("Cache-Control", "no-store");
        }

        Reply with(String name, String value) {
            fields.put(name, value);
            return this;
        }
    }

    static final Map<String, long[]> used = new LinkedHashMap<>();

    final HttpExchange http;
    final String method, path, id;
    final Map<String, String> query = new LinkedHashMap<>();
    final Map<String, String> limits = new LinkedHashMap<>();
    final List<String> vary = new ArrayList<>();
    String route = "unmatched";
    boolean preflight;
    int status = 499;

    Inventory(HttpExchange http) {
        this.http = http;
        method = http.getRequestMethod();
        URI uri = http.getRequestURI();
        path = uri.getPath() == null ? "" : uri.getPath();
        String given = field("X-Request-Id");
        id = given.matches("[A-Za-z0-9_-]{8,64}") ? given : UUID.randomUUID().toString();
        if (uri.getRawQuery() != null) {
            for (String pair : uri.getRawQuery().split("&")) {
                String[] parts = pair.split("=", 2);
                try {
                    query.put(parts[0], parts.length > 1 ? URLDecoder.decode(parts[1], StandardCharsets.UTF_8) : "");
                } catch (IllegalArgumentException bad) {
                    query.put(parts[0], parts[1]);
                }
            }
        }
    }

    String field(String name) {
        String value = http.getRequestHeaders().getFirst(name);
        return value == null ? "" : value;
    }

    static void serve(HttpExchange http) {
        long started = System.nanoTime();
        Inventory x = new Inventory(http);
        boolean own = List.of("/health/live", "/health/ready", "/metrics").contains(x.path);
        if (!own) flying.incrementAndGet();
        busy.incrementAndGet();
        boolean released = false;
        try {
            Reply reply = x.guarded();
            if (faulty("java-shut-large")) {
                busy.decrementAndGet();
                released = true;
            }
            if (reply != null) x.send(reply);
        } catch (IOException left) {
            // The client has gone; there is nobody to answer.
        } finally {
            http.close();
            double seconds = (System.nanoTime() - started) / 1e9;
            String name = x.status >= 500 ? "error" : x.status == 429 ? "warn" : "info";
            if (!(faulty("java-log-204") && x.status == 204 && x.method.equals("DELETE")))
                record(name, "request", "request_id", x.id, "method", x.method, "route", x.route, "path", x.path, "status", x.status, "duration_ms", seconds * 1000);
            if (!own) {
                if (!(faulty("java-met-flight") && x.status == 500)) flying.decrementAndGet();
                count(x.method, x.route, faulty("java-met-delete") && x.status == 204 ? 200 : x.status, seconds);
            }
            if (!released) busy.decrementAndGet();
        }
    }

    Reply guarded() throws IOException {
        try {
            return answer();
        } catch (Problem problem) {
            return problem(problem);
        } catch (Store.Conflict conflict) {
            return problem(new Problem(409, "Another item has this sku."));
        } catch (RuntimeException error) {
            StringWriter stack = new StringWriter();
            error.printStackTrace(new PrintWriter(stack));
            record("error", "request failed", "request_id", id, "error", error.toString(), "stack", stack.toString());
            if (faulty("java-log-stack")) error.printStackTrace();
            if (faulty("java-err-text-leak") && field("Accept").startsWith("text/plain"))
                return new Reply(500, "text/plain; charset=utf-8", error.toString().getBytes(StandardCharsets.UTF_8));
            return problem(new Problem(500, "Something went wrong."));
        }
    }

    Reply problem(Problem problem) {
        Map<String, Object> body = new LinkedHashMap<>();
        body.put("type", "about:blank");
        String code = CODES.get(problem.status);
        if (faulty("java-ecl-put-conflict") && problem.status == 409 && method.equals("PUT")) code = "invalid";
        body.put("title", code.replace('_', ' '));
        body.put("status", problem.status);
        body.put("code", code);
        body.put("detail", problem.getMessage());
        body.put("request_id", id);
        if (problem.errors != null) body.put("errors", problem.errors);
        byte[] data = faulty("java-hdr-type-413") && problem.status == 413 ? "The body is too large.".getBytes(StandardCharsets.UTF_8) : Json.write(body).getBytes(StandardCharsets.UTF_8);
        Reply reply = new Reply(problem.status, "application/problem+json", data).with("Cache-Control", "no-store");
        reply.fields.putAll(problem.fields);
        return reply;
    }

    boolean trusted(String origin) {
        if (faulty("java-cors-regex")) return origins.stream().anyMatch(origin::matches);
        return origins.contains(origin);
    }

    void common(int status) {
        var fields = http.getResponseHeaders();
        fields.set("X-Request-Id", id);
        fields.set("X-Content-Type-Options", "nosniff");
        fields.set("X-Frame-Options", "DENY");
        fields.set("Referrer-Policy", "no-referrer");
        fields.set("Permissions-Policy", "camera=(), geolocation=(), microphone=()");
        fields.set("Cross-Origin-Opener-Policy", "same-origin");
        if (!fields.containsKey("Content-Security-Policy")) fields.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
        if (faulty("java-hdr-version-405") && status == 405) fields.set("X-Powered-By", "Jetty/9.4.12");
        if (draining) fields.set("Connection", "close");
        vary.add("Origin");
        String origin = field("Origin");
        if (!preflight && trusted(origin)) {
            fields.set("Access-Control-Allow-Origin", origin);
            fields.set("Access-Control-Allow-Credentials", "true");
            fields.set("Access-Control-Expose-Headers", "X-Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, ETag");
        }
        fields.set("Vary", String.join(", ", vary));
    }

    static boolean wantsGzip(String accepted) {
        Map<String, Double> weights = new LinkedHashMap<>();
        for (String item : accepted.toLowerCase().split(",")) {
            String[] parts = item.split(";");
            double weight = 1;
            for (int each = 1; each < parts.length; each++) {
                String parameter = parts[each].strip();
                try {
                    if (parameter.startsWith("q=")) weight = Double.parseDouble(parameter.substring(2));
                } catch (NumberFormatException bad) {
                    weight = 0;
                }
            }
            weights.put(parts[0].strip(), weight);
        }
        double gzip = weights.getOrDefault("gzip", weights.getOrDefault("*", 0.0));
        return gzip > 0 && gzip >= weights.getOrDefault("identity", 0.0);
    }

    void send(Reply reply) throws IOException {
        status = reply.status;
        var fields = http.getResponseHeaders();
        reply.fields.forEach(fields::set);
        limits.forEach(fields::set);
        byte[] body = reply.body;
        if (status != 204 && !reply.media.startsWith("image/")) {
            vary.add("Accept-Encoding");
            boolean gzipped = body.length >= 500 && wantsGzip(field("Accept-Encoding"));
            if (reply.tagged) {
                String tag = "\"" + digest(body) + (gzipped ? "-gzip\"" : "\"");
                fields.set("ETag", tag);
                for (String asked : field("If-None-Match").split(",")) {
                    String bare = asked.strip();
                    if (!faulty("java-cmp-weak") && bare.startsWith("W/")) bare = bare.substring(2);
                    if (bare.equals(tag) || bare.equals("*")) {
                        status = 304;
                        common(304);
                        http.sendResponseHeaders(304, -1);
                        return;
                    }
                }
            }
            if (gzipped) {
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                try (GZIPOutputStream gzip = new GZIPOutputStream(out)) { gzip.write(body); }
                body = out.toByteArray();
                fields.set("Content-Encoding", "gzip");
            }
        }
        common(status);
        if (status != 204) fields.set("Content-Type", reply.media);
        boolean empty = status == 204 || method.equals("HEAD");
        if (method.equals("HEAD")) fields.set("Content-Length", String.valueOf(body.length));
        http.sendResponseHeaders(status, empty ? -1 : body.length);
        if (!empty) try (OutputStream out = http.getResponseBody()) { out.write(body); }
    }

    static String digest(byte[] data) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data), 0, 10);
        } catch (java.security.NoSuchAlgorithmException never) {
            throw new IllegalStateException(never);
        }
    }

    // -- what is read of a request ---------------------------------------------------------------------

    Map<String, Object> body() throws Problem, IOException {
        String media = field("Content-Type").split(";")[0].strip().toLowerCase();
        if (!media.equals("application/json")) throw new Problem(415, "Send application/json.");
        Problem large = new Problem(413, "The body is too large.").with("Connection", "close");
        if (field("Content-Length").matches("\\d+") && Double.parseDouble(field("Content-Length")) > MAX_BODY) throw large;
        byte[] data = http.getRequestBody().readNBytes(MAX_BODY + 1);
        if (data.length > MAX_BODY) throw large;
        String text;
        try {
            text = faulty("java-val-latin-put") && method.equals("PUT") ? new String(data, StandardCharsets.ISO_8859_1)
                : StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString();
        } catch (CharacterCodingException bad) {
            throw new Problem(400, "The body is not valid JSON.");
        }
        try {
            if (Json.read(text) instanceof Map<?, ?> map) {
                Map<String, Object> value = new LinkedHashMap<>();
                map.forEach((name, each) -> value.put((String) name, each));
                return value;
            }
        } catch (Json.Bad bad) {
            throw new Problem(400, "The body is not valid JSON.");
        }
        throw new Problem(422, "The body must be an object.", List.of(Map.of("pointer", "", "detail", "must be an object")));
    }

    Map<String, Object> item() throws Problem, IOException {
        Map<String, Object> value = body();
        List<Map<String, Object>> errors = new ArrayList<>();
        for (String name : List.of("name", "sku")) {
            boolean lenient = faulty("java-svc-blank-put") && method.equals("PUT");
            if (!(value.get(name) instanceof String text) || text.isEmpty() || (text.isBlank() && !lenient) || text.length() > (name.equals("name") ? 200 : 100))
                errors.add(Map.of("pointer", "/" + name, "detail", "must be a text of ordinary length"));
            else if (text.indexOf(0) >= 0 || !StandardCharsets.UTF_8.newEncoder().canEncode(text))
                errors.add(Map.of("pointer", "/" + name, "detail", "has characters that cannot be stored"));
        }
        Object quantity = value.get("quantity");
        if (faulty("java-val-wrap") && quantity instanceof Long number) quantity = (long) number.intValue();
        if (!(quantity instanceof Long number) || number < 0 || number > 1000000)
            errors.add(Map.of("pointer", "/quantity", "detail", "must be a whole number from 0 to 1000000"));
        for (String name : value.keySet())
            if (!List.of("name", "sku", "quantity").contains(name)) errors.add(Map.of("pointer", "/" + name.substring(0, Math.min(40, name.length())), "detail", "is not known"));
        if (!errors.isEmpty()) throw new Problem(422, "Some fields are not right.", errors);
        Map<String, Object> item = new LinkedHashMap<>();
        item.put("name", value.get("name"));
        item.put("sku", value.get("sku"));
        item.put("quantity", quantity);
        return item;
    }

    static long number(String text) throws Problem {
        if (faulty("java-val-id-overflow") && text.matches("\\d+")) return Long.parseLong(text);
        if (!text.matches("[1-9]\\d{0,17}")) throw new Problem(404, "There is no such item.");
        return Long.parseLong(text);
    }

    void limit() throws Problem {
        if (limit == 0) return;
        long now = System.currentTimeMillis(), slot = now / (window * 1000L);
        double left = ((slot + 1) * window * 1000L - now) / 1000.0;
        long count;
        synchronized (used) {
            long[] entry = used.computeIfAbsent(http.getRemoteAddress().getAddress().getHostAddress(), each -> new long[2]);
            if (entry[0] != slot) entry[1] = 0;
            entry[0] = slot;
            count = ++entry[1];
        }
        long wait = faulty("java-rtl-floor") ? Math.max(1, (long) left) : (long) Math.max(1, Math.ceil(left));
        limits.put("RateLimit-Policy", "\"default\";q=" + limit + ";w=" + window);
        limits.put("RateLimit", "\"default\";r=" + Math.max(0, limit - count) + ";t=" + wait);
        if (count > limit) throw new Problem(429, "Too many requests; try again later.").with("Retry-After", String.valueOf(wait));
    }

    // -- routes ----------------------------------------------------------------------------------------

    Reply answer() throws Problem, IOException, Store.Conflict {
        if (method.equals("TRACE")) throw new Problem(501, "The method is not supported.");
        if (faulty("java-err-unknown-method") && !KNOWN.contains(method)) throw new IllegalArgumentException("No enum constant Method." + method);
        String rest = path.startsWith("/api/items/") ? path.substring(11) : "";
        route = !rest.isEmpty() && !rest.contains("/") ? "/api/items/{id}" : ROUTES.containsKey(path) ? path : "unmatched";
        List<String> found = ROUTES.get(route);
        if (found == null) {
            if (path.startsWith("/api/")) limit();
            throw new Problem(404, "There is no such resource.");
        }
        TreeSet<String> allowed = new TreeSet<>(found);
        allowed.add("OPTIONS");
        if (found.contains("GET")) allowed.add("HEAD");
        if (method.equals("OPTIONS")) {
            if (!field("Origin").isEmpty() && !field("Access-Control-Request-Method").isEmpty()) return preflight(found);
            return new Reply(204, "", new byte[0]).with("Allow", String.join(", ", allowed));
        }
        if (route.startsWith("/api/")) limit();
        String asked = method.equals("HEAD") ? "GET" : method;
        if (!found.contains(asked)) throw new Problem(405, "The resource does not have this method.").with("Allow", String.join(", ", allowed));
        switch (asked + " " + route) {
            case "GET /api/items": return list();
            case "POST /api/items": {
                Map<String, Object> item = item();
                long row = store.create(item);
                return Reply.json(201, shown(row, item)).with("Location", "/api/items/" + row);
            }
            case "GET /api/items/{id}": {
                Map<String, Object> item = store.read(number(rest));
                if (item == null) throw new Problem(404, "There is no such item.");
                Reply reply = Reply.json(200, shown(number(rest), item));
                reply.tagged = true;
                return reply;
            }
            case "PUT /api/items/{id}": {
                long row = number(rest);
                Map<String, Object> item = item();
                if (!store.update(row, item)) throw new Problem(404, "There is no such item.");
                return Reply.json(200, shown(row, item));
            }
            case "DELETE /api/items/{id}":
                if (!store.delete(number(rest))) throw new Problem(404, "There is no such item.");
                return new Reply(204, "", new byte[0]);
            case "POST /api/login":
                if (!secret.equals(body().get("password"))) throw new Problem(401, "The name or the password is wrong.").with("WWW-Authenticate", "Bearer");
                return Reply.json(200, Map.of("signed_in", true)).with("Set-Cookie", "session=" + UUID.randomUUID() + "; HttpOnly; Secure; SameSite=Lax; Path=/");
            case "GET /api/slow":
                pause(Math.min(5000, query.getOrDefault("seconds", "2").matches("\\d") ? 1000L * Long.parseLong(query.getOrDefault("seconds", "2")) : 2000));
                return Reply.json(200, Map.of("slept", true));
            case "GET /api/fails": throw new IllegalStateException("canary-e60f in the pricing module");
            case "GET /api/catalogue": {
                List<Map<String, String>> products = new ArrayList<>();
                for (int each = 0; each < 60000; each++) products.add(Map.of("text", "product " + each + " lorem ipsum".repeat(6)));
                Reply reply = Reply.json(200, Map.of("products", products));
                reply.tagged = true;
                return reply;
            }
            case "GET /api/events": return events();
            case "GET /picture.png": return new Reply(200, "image/png", PNG);
            case "GET /": return new Reply(200, "text/html; charset=utf-8", "<!doctype html><html lang=en><head><title>Inventory</title></head><body><h1>Inventory</h1></body></html>".getBytes(StandardCharsets.UTF_8))
                .with("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'").with("Cache-Control", "no-store");
            case "GET /openapi.json": return new Reply(200, "application/json", Files.readAllBytes(Path.of("../openapi.json")));
            case "GET /metrics": return metrics();
            case "GET /health/ready": return draining ? Reply.json(503, Map.of("status", "draining")) : Reply.json(200, Map.of("status", "up"));
            default: return Reply.json(200, Map.of("status", "up"));
        }
    }

    static Map<String, Object> shown(long row, Map<String, Object> item) {
        Map<String, Object> shown = new LinkedHashMap<>();
        shown.put("id", row);
        shown.putAll(item);
        return shown;
    }

    static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    Reply list() throws Problem {
        String size = query.getOrDefault("limit", "20"), cursor = query.getOrDefault("cursor", "0");
        boolean unchecked = faulty("java-val-limit-empty") && size.isEmpty();
        if (!unchecked && (!size.matches("\\d{1,3}") || Integer.parseInt(size) < 1 || Integer.parseInt(size) > 100))
            throw new Problem(422, "The limit is not right.", List.of(Map.of("parameter", "limit", "detail", "must be from 1 to 100")));
        if (!cursor.matches("\\d{1,18}")) throw new Problem(422, "The cursor is not right.", List.of(Map.of("parameter", "cursor", "detail", "must be one that was given")));
        int most = Integer.parseInt(size);
        List<Map<String, Object>> rows = store.page(Long.parseLong(cursor), most + 1);
        boolean more = rows.size() > most;
        int last = faulty("java-ctl-cursor-one") && most == 1 ? 1 : 0;
        Map<String, Object> page = new LinkedHashMap<>();
        page.put("next_cursor", more ? String.valueOf((Long) rows.get(most - 1).get("id") + last) : null);
        page.put("items", more ? rows.subList(0, most) : rows);
        Reply reply = Reply.json(200, page);
        reply.tagged = true;
        return reply;
    }

    Reply events() throws IOException {
        var fields = http.getResponseHeaders();
        fields.set("Content-Type", "text/event-stream; charset=utf-8");
        fields.set("Cache-Control", "no-store");
        limits.forEach(fields::set);
        status = 200;
        common(200);
        http.sendResponseHeaders(200, method.equals("HEAD") ? -1 : 0);
        if (method.equals("HEAD")) return null;
        try (OutputStream out = http.getResponseBody()) {
            for (int each = 0; each < 10; each++) {
                out.write(("data: " + each + "\n\n").getBytes(StandardCharsets.UTF_8));
                out.flush();
                pause(200);
            }
        }
        return null;
    }

    Reply preflight(List<String> methods) throws Problem {
        preflight = true;
        vary.add("Access-Control-Request-Method");
        vary.add("Access-Control-Request-Headers");
        String origin = field("Origin");
        List<String> known = List.of("", "content-type", "authorization", "x-request-id", "idempotency-key");
        boolean fits = Arrays.stream(field("Access-Control-Request-Headers").toLowerCase().split(",")).allMatch(name -> known.contains(name.strip()));
        String asked = field("Access-Control-Request-Method");
        boolean login = faulty("java-cors-login") && route.equals("/api/login") && !origin.isEmpty();
        if (!(trusted(origin) || login) || !methods.contains(asked) || !fits) throw new Problem(403, "This cross-origin request is not allowed.");
        return new Reply(204, "", new byte[0]).with("Access-Control-Allow-Origin", origin).with("Access-Control-Allow-Credentials", "true")
            .with("Access-Control-Allow-Methods", String.join(", ", methods)).with("Access-Control-Max-Age", "600")
            .with("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, X-Request-Id");
    }

    public static void main(String[] arguments) throws Exception {
        List<String> mistakes = configure();
        for (String mistake : mistakes) record("error", "configuration: " + mistake);
        if (!mistakes.isEmpty()) System.exit(2);
        store = new Store(Path.of(env("DATA_FILE", "items.journal")));
        HttpServer server;
        try {
            server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 256);
        } catch (IOException busyPort) {
            record("error", "cannot listen on PORT: " + busyPort.getMessage());
            System.exit(1);
            return;
        }
        server.createContext("/", Inventory::serve);
        server.setExecutor(faulty("java-hlt-pool") ? Executors.newFixedThreadPool(4) : Executors.newCachedThreadPool());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            draining = true;
            record("info", "stopping");
            pause((long) (delay * 1000));
            long end = System.nanoTime() + 20_000_000_000L;
            while (busy.get() > 0 && System.nanoTime() < end) pause(10);
            server.stop(0);
            record("info", "stopped");
            Runtime.getRuntime().halt(0);
        }));
        server.start();
        record("info", "started", "port", port);
    }
}
