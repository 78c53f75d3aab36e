"use strict";
// Answers what goes with what, from the clauses that mlruntime's own solver gets. A set of
// releases is a number in which bit i stands for release i; the bit after the last one stands for
// "left out". A clause is a list of [component, releases] of which one must hold.
(function () {
  const data = window.QUESTIONS;
  const components = data.components.map(function (one, index) {
    const count = one.releases.length;
    return {
      name: one.name, title: one.title, releases: one.releases, ascending: one.ascending, index,
      choices: one.choices.map(([text, mask]) => [text, big(mask)]),
      absent: 1n << BigInt(count),
      all: (1n << BigInt(count)) - 1n,
    };
  });
  const clauses = data.clauses.map(([owner, literals]) => ({
    owner, literals: literals.map(([at, mask]) => [at, big(mask)]),
  }));
  const watching = components.map(() => []);
  clauses.forEach((clause) => clause.literals.forEach(([at]) => watching[at].push(clause)));

  function big(hex) {
    return BigInt("0x" + hex);
  }

  // Narrows domains to a fixed point; false when one is empty.
  function propagate(domains, changed, without) {
    const queue = Array.from(changed);
    while (queue.length) {
      for (const clause of watching[queue.pop()]) {
        if (without && without.has(clause.owner)) continue;
        let unit = null, open = 0;
        for (const literal of clause.literals) {
          if (domains[literal[0]] & literal[1]) {
            open += 1;
            if (open > 1) break;
            unit = literal;
          }
        }
        if (open > 1) continue;
        if (!unit) return false;
        const [at, mask] = unit;
        if (domains[at] & ~mask) {
          domains[at] &= mask;
          queue.push(at);
        }
      }
    }
    return true;
  }

  function decide(domains, from, without) {
    let at = from;
    while (at < domains.length && !(domains[at] & (domains[at] - 1n))) at += 1;
    if (at === domains.length) return domains;
    let open = domains[at];
    // Left out first, then the preferred releases: the more is left out, the less can be wrong.
    const absent = open & components[at].absent;
    const values = absent ? [absent] : [];
    for (let value = 1n; value < components[at].absent; value <<= 1n) {
      if (open & value) values.push(value);
    }
    for (const value of values) {
      const trial = domains.slice();
      trial[at] = value;
      if (propagate(trial, [at], without)) {
        const found = decide(trial, at + 1, without);
        if (found) return found;
      }
    }
    return null;
  }

  function solve(asked, without) {
    const domains = components.map((one) =>
      asked.has(one.index) ? asked.get(one.index) : one.all | one.absent);
    if (domains.some((domain) => !domain)) return null;
    if (!propagate(domains, domains.keys(), without)) return null;
    return decide(domains, 0, without);
  }

  // The releases of each component that some solution has beside those asked for, or null.
  function together(asked) {
    const first = solve(asked);
    if (!first) return null;
    const found = components.map(() => 0n);
    const witness = (values) => values.forEach((value, at) => {
      found[at] |= value & components[at].all;
    });
    witness(first);
    for (const one of components) {
      const open = asked.has(one.index) ? asked.get(one.index) : one.all;
      for (let value = 1n; value < one.absent; value <<= 1n) {
        if (!(open & value) || found[one.index] & value) continue;
        const values = solve(new Map(asked).set(one.index, value));
        if (values) witness(values);
      }
    }
    return found;
  }

  // Few rules that together leave nothing: without any one of them something is left.
  function blamed(asked) {
    const without = new Set();
    const owners = Array.from(new Set(clauses.map((clause) => clause.owner)));
    for (const owner of owners) {
      without.add(owner);
      if (solve(asked, without)) without.delete(owner);
    }
    return owners.filter((owner) => !without.has(owner));
  }

  function ranges(one, mask) {
    const runs = [];
    let before = false;
    for (const bit of one.ascending) {
      const here = Boolean(mask >> BigInt(bit) & 1n);
      if (here && before) runs[runs.length - 1][1] = one.releases[bit];
      else if (here) runs.push([one.releases[bit], one.releases[bit]]);
      before = here;
    }
    return runs.map(([a, b]) => (a === b ? a : a + " to " + b)).join(", ") || "none";
  }

  // "TensorFlow 2.18 and python 3.12" as Map(component -> [text, mask]), and what was not understood.
  function read(text) {
    const names = [];
    for (const one of components) {
      names.push([one.name, one], [one.title.toLowerCase(), one]);
      names.push([one.title.toLowerCase().replace(/\s*\(.*\)$/, ""), one]);
      names.push([one.title.toLowerCase().replace(/^apache /, ""), one]);
      names.push([one.name.replace(/-/g, " "), one], [one.name.replace(/-/g, ""), one]);
    }
    names.sort((a, b) => b[0].length - a[0].length);
    const asked = new Map(), strange = [];
    let rest = text.toLowerCase().replace(/^\s*what (goes|works) with\b/, "").replace(/\?\s*$/, "");
    const skip = /^(\s|,|;|&|\+|and\b|with\b|on\b|beside\b)+/;
    rest = rest.replace(skip, "");
    while (rest) {
      const known = names.find(([name]) =>
        rest.startsWith(name) && !/^[a-z]/.test(rest.slice(name.length)));
      if (!known) {
        const word = rest.match(/^\S+/)[0];
        strange.push(word.replace(/[,;]+$/, ""));
        rest = rest.slice(word.length).replace(skip, "");
        continue;
      }
      rest = rest.slice(known[0].length);
      const version = rest.match(/^\s*(?:={1,3}|v)?\s*(\d[\w.+*-]*)/);
      const one = known[1];
      if (version) {
        rest = rest.slice(version[0].length);
        const wanted = version[1].replace(/[.*]+$/, "");
        const choice = one.choices.find(([label]) => label === wanted);
        if (choice) asked.set(one.index, choice);
        else strange.push(one.title + " " + wanted);
      } else {
        asked.set(one.index, ["any version", one.all]);
      }
      rest = rest.replace(skip, "");
    }
    return [asked, strange];
  }

  function element(name, text, into) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (into) into.append(made);
    return made;
  }

  const form = document.getElementById("question");
  const words = document.getElementById("words");
  const understood = document.getElementById("understood");
  const answer = document.getElementById("answer");
  const lists = document.getElementById("lists");
  let asked = new Map();

  function spoken() {
    return Array.from(asked, ([at, [text]]) =>
      components[at].title + (text === "any version" ? "" : " " + text)).join(" and ");
  }

  function table(found) {
    const wide = element("div", "", answer);
    wide.className = "wide";
    wide.tabIndex = 0;
    wide.setAttribute("role", "group");
    wide.setAttribute("aria-label", "Answer");
    const made = element("table", "", wide);
    element("caption", "What goes with " + spoken(), made);
    const head = element("tr", "", element("thead", "", made));
    ["component", "releases that fit", "newest of them"].forEach((text) => {
      element("th", text, head).scope = "col";
    });
    const body = element("tbody", "", made);
    for (const one of components) {
      const row = element("tr", "", body);
      const name = element("th", "", row);
      name.scope = "row";
      const link = element("a", one.title, name);
      link.href = one.name + ".html";
      const mask = found[one.index];
      row.dataset.component = one.name;
      row.dataset.releases = mask.toString(16);
      if (asked.has(one.index)) row.className = "asked";
      element("td", mask === one.all ? "all: " + ranges(one, mask) : ranges(one, mask), row);
      let newest = 0;
      while (mask && !(mask >> BigInt(newest) & 1n)) newest += 1;
      element("td", mask ? one.releases[newest] : "–", row);
    }
  }

  function runtimes() {
    const fitting = data.runtimes.filter(([, versions]) => {
      const had = new Map(versions);
      return Array.from(asked).every(([at, [, mask]]) => {
        const has = had.get(components[at].name);
        return has !== undefined && big(has) & mask;
      });
    });
    const told = element("p", fitting.length ? "Runtimes with these: " : "No runtime here has these together.", answer);
    fitting.forEach(([runtime], index) => {
      if (index) told.append(", ");
      element("a", runtime, told).href = "../runtimes/" + runtime + ".html";
    });
  }

  function conflict(masks) {
    element("p", "Nothing goes with " + spoken() + ". These rules, together, leave nothing:", answer);
    const list = element("ul", "", answer);
    for (const owner of blamed(masks)) {
      const [id, says, evidence] = data.rules[owner];
      const item = element("li", says + " ", list);
      element("a", id, item).href = "../rules.html#" + id;
      item.append(" (" + evidence + ")");
    }
  }

  function show(strange) {
    answer.replaceChildren();
    for (const select of lists.querySelectorAll("select")) {
      const choice = asked.get(Number(select.dataset.at));
      select.value = choice ? choice[0] : "";
    }
    const unknown = strange && strange.length
      ? "Not known here: " + strange.join(", ") + ". Components and releases are in the lists below."
      : "";
    if (!asked.size) {
      understood.textContent = unknown;
      history.replaceState(null, "", location.pathname);
      return;
    }
    const masks = new Map(Array.from(asked, ([at, [, mask]]) => [at, mask]));
    const found = together(masks);
    understood.textContent = unknown || (found ? "Answered below." : "Nothing fits.");
    if (found) {
      runtimes();
      table(found);
    } else {
      conflict(masks);
    }
    const query = Array.from(asked, ([at, [text]]) =>
      encodeURIComponent(components[at].name) + "=" + encodeURIComponent(text)).join("&");
    history.replaceState(null, "", "#" + query);
  }

  for (const one of components) {
    const box = element("div", "", lists);
    const label = element("label", one.title, box);
    const select = element("select", "", box);
    select.id = "list-" + one.name;
    select.dataset.at = one.index;
    label.htmlFor = select.id;
    select.append(new Option("not asked", ""), new Option("any version", "any version"));
    one.choices.forEach(([text, mask]) => {
      const several = (mask & (mask - 1n)) !== 0n;
      select.append(new Option(several ? text + " (all of it)" : text, text));
    });
    select.addEventListener("change", function () {
      const choice = select.value === "any version"
        ? ["any version", one.all] : one.choices.find(([text]) => text === select.value);
      if (choice) asked.set(one.index, choice);
      else asked.delete(one.index);
      words.value = spoken();
      show();
    });
  }

  form.addEventListener("submit", function (event) {
    event.preventDefault();
    const [found, strange] = read(words.value);
    asked = found;
    show(strange);
  });
  form.addEventListener("reset", function () {
    asked = new Map();
    show();
    words.focus();
  });

  document.getElementById("ask").hidden = false;
  for (const part of location.hash.slice(1).split("&")) {
    const [name, text] = part.split("=").map(decodeURIComponent);
    const one = components.find((each) => each.name === name);
    const choice = one && (text === "any version"
      ? ["any version", one.all] : one.choices.find(([label]) => label === text));
    if (choice) asked.set(one.index, choice);
  }
  words.value = spoken();
  show();
})();
