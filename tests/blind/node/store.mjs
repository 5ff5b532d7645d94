// What the inventory keeps: a map in memory, and a journal from which it is made again after any death.
import fs from "node:fs";

export class Conflict extends Error {}

export class Inventory {
  constructor(file, fault) {
    this.fault = fault;
    this.items = new Map();
    this.last = 0;
    if (fs.existsSync(file)) {
      for (const line of fs.readFileSync(file, "utf8").split("\n")) {
        if (!line.endsWith("}")) continue; // the last line of a process that was killed while writing it
        const { id, item } = JSON.parse(line);
        this.last = Math.max(this.last, id);
        if (item) this.items.set(id, item);
        else this.items.delete(id);
      }
    }
    this.journal = fs.openSync(file, "a");
  }

  write(id, item) {
    fs.writeSync(this.journal, JSON.stringify({ id, item }) + "\n");
    fs.fsyncSync(this.journal);
  }

  taken(sku, except) {
    for (const [id, item] of this.items) if (item.sku === sku && id !== except) return true;
    return false;
  }

  create(item) {
    if (this.taken(item.sku)) throw new Conflict();
    const id = ++this.last;
    this.write(id, item);
    this.items.set(id, item);
    return id;
  }

  update(id, item) {
    if (this.taken(item.sku, id)) throw new Conflict();
    this.write(id, item);
    this.items.set(id, item);
  }

  delete(id) {
    this.write(id, null);
    this.items.delete(id);
  }

  page(after, limit) {
    const ids = [...this.items.keys()].sort((a, b) => a - b);
    if (this.fault === "js-ctl-offset") {
      const rows = ids.slice(after, after + limit);
      return { rows, next: after + limit < ids.length ? String(after + limit) : null };
    }
    const rest = ids.filter((id) => id > after);
    const rows = rest.slice(0, limit);
    return { rows, next: rest.length > limit ? String(rows.at(-1)) : null };
  }
}
