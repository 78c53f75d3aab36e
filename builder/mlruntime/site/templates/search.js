"use strict";
// Finds what has all of the words: in its name before in what is said of it.
(function () {
  const MOST = 60;
  const text = (new URLSearchParams(location.search).get("q") || "").trim();
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  const told = document.getElementById("found");
  const list = document.getElementById("results");
  document.getElementById("_find").value = text;

  function rank(entry) {
    const name = entry[1].toLowerCase(), all = (entry[0] + " " + name + " " + entry[2]).toLowerCase();
    if (!wanted.every((word) => all.includes(word))) return -1;
    if (name === wanted.join(" ")) return 3;
    if (wanted.every((word) => name.includes(word))) return name.startsWith(wanted[0]) ? 2 : 1;
    return 0;
  }

  if (!wanted.length) {
    told.textContent = "Type what you look for into the field at the top: a package, a component, a rule, a word of the documentation.";
    document.getElementById("_find").focus();
    return;
  }
  const found = window.ENTRIES
    .map((entry, place) => [rank(entry), place, entry])
    .filter((one) => one[0] >= 0)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  const shown = found.slice(0, MOST);
  told.textContent = found.length === 0
    ? "Nothing has “" + text + "” in it."
    : found.length + (found.length === 1 ? " result" : " results") + " for “" + text + "”"
      + (found.length > MOST ? "; the first " + MOST + " are shown" : "");
  for (const [, , [kind, name, said, where]] of shown) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const more = document.createElement("p");
    link.href = where;
    link.textContent = name;
    more.textContent = kind + (said ? " · " + said : "");
    item.append(link, more);
    list.append(item);
  }
})();
