"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };
  const compare = (one, other) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    return typeof one === typeof other && typeof one === "number" ? one - other : String(one).localeCompare(String(other));
  };
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const column = head.cellIndex;
      const rows = [...body.rows].sort((one, other) => {
        const a = key(one, column), b = key(other, column);
        return a === "" || b === "" ? compare(a, b) : (down ? -1 : 1) * compare(a, b);
      });
      body.append(...rows);
    });
  }
}
