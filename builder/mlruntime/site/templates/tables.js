"use strict";
// Filters for tables and lists; choosing two images. All of this is there without, only longer.
(function () {
  function words(text) {
    return text.toLowerCase().split(/\s+/).filter(Boolean);
  }

  function filtered(whole, index) {
    const items = whole.dataset.items
      ? Array.from(whole.querySelectorAll(whole.dataset.items))
      : Array.from(whole.tBodies[0].rows);
    if (items.length < 8) return;
    const texts = items.map((item) => item.textContent.toLowerCase());
    const box = document.createElement("div");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const told = document.createElement("p");
    box.className = "filter";
    input.type = "search";
    input.id = "filter-" + index;
    input.autocomplete = "off";
    label.htmlFor = input.id;
    label.textContent = whole.dataset.filter;
    told.setAttribute("role", "status");
    box.append(label, input, told);
    const place = whole.closest(".wide") || whole;
    place.before(box);
    input.addEventListener("input", function () {
      const wanted = words(input.value);
      let shown = 0;
      items.forEach(function (item, at) {
        item.hidden = !wanted.every((word) => texts[at].includes(word));
        shown += item.hidden ? 0 : 1;
      });
      told.textContent = wanted.length ? shown + " of " + items.length : "";
    });
  }

  function pair(form) {
    const from = form.querySelector("#from"), to = form.querySelector("#to");
    const told = form.querySelector("[role=status]");
    const order = Array.from(from.options, (option) => option.value);
    form.hidden = false;
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      if (from.value === to.value) {
        told.textContent = "Choose two images that are not the same.";
        return;
      }
      const both = [from.value, to.value].sort((a, b) => order.indexOf(a) - order.indexOf(b));
      location.href = both.join("--") + ".html";
    });
  }

  document.querySelectorAll("[data-filter]").forEach(filtered);
  const form = document.getElementById("pair");
  if (form && form.querySelector("#from").options.length > 1) pair(form);
  document.addEventListener("keydown", function (event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName || "");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      document.getElementById("_find").focus();
    }
  });
})();
