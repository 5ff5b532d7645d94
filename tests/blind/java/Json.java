import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads and writes JSON: objects as maps, whole numbers as Long, other numbers as Double. */
final class Json {
    static final class Bad extends Exception {}

    private final String text;
    private int at;

    private Json(String text) { this.text = text; }

    static Object read(String text) throws Bad {
        Json json = new Json(text);
        Object value = json.value(0);
        json.space();
        if (json.at < text.length()) throw new Bad();
        return value;
    }

    private void space() { while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++; }

    private char next() throws Bad {
        if (at >= text.length()) throw new Bad();
        return text.charAt(at);
    }

    private boolean take(char wanted) throws Bad {
        space();
        if (next() != wanted) return false;
        at++;
        return true;
    }

    private Object value(int depth) throws Bad {
        space();
        if (depth > 100) throw new Bad();
        char first = next();
        if (first == '{') return object(depth);
        if (first == '[') return array(depth);
        if (first == '"') return string();
        for (String word : List.of("true", "false", "null")) {
            if (text.startsWith(word, at)) {
                at += word.length();
                return word.equals("null") ? null : (Object) word.equals("true");
            }
        }
        int from = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) at++;
        String number = text.substring(from, at);
        if (!number.matches("-?(0|[1-9]\\d*)(\\.\\d+)?([eE][+-]?\\d+)?")) throw new Bad();
        if (number.matches("-?\\d{1,18}")) return Long.parseLong(number);
        return Double.parseDouble(number);
    }

    private Map<String, Object> object(int depth) throws Bad {
        Map<String, Object> object = new LinkedHashMap<>();
        at++;
        if (take('}')) return object;
        do {
            space();
            if (Inventory.faulty("java-val-comma") && next() == '}') break;
            if (next() != '"') throw new Bad();
            String name = string();
            if (!take(':') || object.containsKey(name)) throw new Bad();
            object.put(name, value(depth + 1));
        } while (take(','));
        if (!take('}')) throw new Bad();
        return object;
    }

    private List<Object> array(int depth) throws Bad {
        List<Object> array = new ArrayList<>();
        at++;
        if (take(']')) return array;
        do array.add(value(depth + 1)); while (take(','));
        if (!take(']')) throw new Bad();
        return array;
    }

    private String string() throws Bad {
        StringBuilder out = new StringBuilder();
        at++;
        while (next() != '"') {
            char each = text.charAt(at++);
            if (each < ' ') throw new Bad();
            if (each != '\\') { out.append(each); continue; }
            each = next();
            at++;
            int simple = "\"\\/bfnrt".indexOf(each);
            if (simple >= 0) { out.append("\"\\/\b\f\n\r\t".charAt(simple)); continue; }
            if (each != 'u' || at + 4 > text.length() || !text.substring(at, at + 4).matches("[0-9a-fA-F]{4}")) throw new Bad();
            out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
            at += 4;
        }
        at++;
        return out.toString();
    }

    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof Map<?, ?> map) {
            String comma = "{";
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                out.append(comma);
                write(entry.getKey(), out);
                out.append(':');
                write(entry.getValue(), out);
                comma = ",";
            }
            out.append(map.isEmpty() ? "{}" : "}");
        } else if (value instanceof List<?> list) {
            out.append('[');
            for (int each = 0; each < list.size(); each++) {
                if (each > 0) out.append(',');
                write(list.get(each), out);
            }
            out.append(']');
        } else if (value instanceof String string) {
            out.append('"');
            for (char each : string.toCharArray()) {
                if (each == '"' || each == '\\') out.append('\\').append(each);
                else if (each < ' ' || each >= 0x7f && each < 0xa0 || each == '\u2028' || each == '\u2029') out.append(String.format("\\u%04x", (int) each));
                else out.append(each);
            }
            out.append('"');
        } else out.append(value);
    }
}
