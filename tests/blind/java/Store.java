import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A map in memory, and a journal from which it is made again after any death. */
final class Store {
    static final class Conflict extends Exception {}

    private final TreeMap<Long, Map<String, Object>> items = new TreeMap<>();
    private final FileChannel journal;
    private long last;

    @SuppressWarnings("unchecked")
    Store(Path file) throws IOException {
        if (Files.exists(file)) {
            for (String line : Files.readAllLines(file, StandardCharsets.UTF_8)) {
                try {
                    Map<String, Object> entry = (Map<String, Object>) Json.read(line);
                    long id = (Long) entry.get("id");
                    last = Math.max(last, id);
                    if (entry.get("item") == null) items.remove(id);
                    else items.put(id, (Map<String, Object>) entry.get("item"));
                } catch (Json.Bad cut) {
                    // The last line of a process that was killed while writing it.
                }
            }
        }
        journal = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private void write(long id, Map<String, Object> item) throws IOException {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("id", id);
        entry.put("item", item);
        journal.write(ByteBuffer.wrap((Json.write(entry) + "\n").getBytes(StandardCharsets.UTF_8)));
        journal.force(false);
    }

    private void judge(Map<String, Object> item, long except) throws Conflict {
        for (Map.Entry<Long, Map<String, Object>> entry : items.entrySet()) {
            if (entry.getKey() != except && entry.getValue().get("sku").equals(item.get("sku"))) throw new Conflict();
        }
    }

    synchronized long create(Map<String, Object> item) throws IOException, Conflict {
        judge(item, 0);
        write(++last, item);
        items.put(last, item);
        return last;
    }

    synchronized Map<String, Object> read(long id) { return items.get(id); }

    synchronized boolean update(long id, Map<String, Object> item) throws IOException, Conflict {
        if (!items.containsKey(id)) return false;
        judge(item, id);
        write(id, item);
        items.put(id, item);
        return true;
    }

    synchronized boolean delete(long id) throws IOException {
        if (!items.containsKey(id)) return false;
        write(id, null);
        return items.remove(id) != null;
    }

    /** Returns up to {@code most} items that follow an id. */
    synchronized List<Map<String, Object>> page(long after, int most) {
        List<Map<String, Object>> page = new ArrayList<>();
        for (Map.Entry<Long, Map<String, Object>> entry : items.tailMap(after, false).entrySet()) {
            if (page.size() == most) break;
            Map<String, Object> shown = new LinkedHashMap<>(Map.of("id", entry.getKey()));
            shown.putAll(entry.getValue());
            page.add(shown);
        }
        return page;
    }
}
