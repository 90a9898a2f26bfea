for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th[data-sort]").forEach((head, column) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    const key = row => { const cell = row.cells[Math.min(column, row.cells.length - 1)]; return cell.dataset.value ?? cell.textContent.trim(); };
    const order = (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true }), number = (a, b) => key(a) - key(b);
    const numeric = [...body.rows].every(row => key(row) !== "" && !isNaN(key(row)));
    [...body.rows].sort((a, b) => (up ? 1 : -1) * (numeric ? number : order)(a, b)).forEach(row => body.append(row));
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  }));
}
