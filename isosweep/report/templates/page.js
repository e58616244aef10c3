(function () {
  "use strict";
  var figures = JSON.parse(document.getElementById("figures-of-the-page").textContent);
  var networks = JSON.parse(document.getElementById("networks-of-the-page").textContent);
  var views = {};
  var chosen = null;

  // A specification for the room there is: as many panels side by side as fit, each as wide as fits.
  function fitted(entry, room) {
    var spec = JSON.parse(JSON.stringify(entry.spec));
    var most = spec.columns || 1;
    var columns = Math.max(1, Math.min(most, Math.floor((room + 8) / (entry.panel * 0.72 + entry.gutter))));
    var legend = entry.legend || 0;
    var stacked = legend && room < 520;
    var width = Math.floor((room - (stacked ? 0 : legend)) / columns - entry.gutter);
    width = Math.max(120, Math.min(Math.round(entry.panel * 1.5), width));
    if (spec.facet) { spec.columns = columns; spec.spec.width = width; }
    else if (spec.concat) { spec.columns = columns; spec.concat.forEach(function (part) { part.width = width; }); }
    else { spec.width = width; }
    if (stacked) {
      spec.config = Object.assign({}, spec.config);
      spec.config.legend = Object.assign({}, spec.config.legend, { orient: "bottom", direction: "horizontal", columns: 3, gradientLength: Math.min(200, width) });
    }
    return spec;
  }

  function rowsOf(cell, part) {
    var rows = [];
    ((networks.cells[cell] || { parts: {} }).parts[part] || []).forEach(function (line) {
      line[1].forEach(function (x, i) { rows.push({ seed: line[0], x: x, y: line[2][i] }); });
    });
    return rows;
  }

  function feed(view, cell) {
    var changed = false;
    networks.parts.forEach(function (part) {
      try { view.data(part); } catch (absent) { return; }
      view.data(part, rowsOf(cell, part));
      changed = true;
    });
    try { view.signal("cell", cell); changed = true; } catch (absent) { /* this figure has no cells */ }
    return changed ? view.runAsync() : Promise.resolve();
  }

  // The table below the spectra follows the cell too.
  function tabulate(cell) {
    var body = document.querySelector("#figure-chosen_network tbody");
    if (!body) { return; }
    body.textContent = "";
    networks.parts.forEach(function (part) {
      rowsOf(cell, part).forEach(function (row) {
        var line = body.insertRow();
        [part.replace("network_", ""), row.seed, row.x, row.y].forEach(function (value) { line.insertCell().textContent = value; });
      });
    });
  }

  function choose(cell) {
    if (!cell) { return; }
    var select = document.getElementById("network");
    var said = document.getElementById("chosen");
    if (!networks.cells[cell]) {
      if (said) { said.textContent = "This cell has no spectrum on this page: none of its runs has a record, or it was left out for room."; }
      return;
    }
    chosen = cell;
    if (select && select.value !== cell) { select.value = cell; }
    if (said) { said.textContent = "Shown: " + networks.cells[cell].said; }
    tabulate(cell);
    Object.keys(views).forEach(function (name) { feed(views[name], cell); });
  }

  function draw(name) {
    var place = document.getElementById("drawing-" + name);
    var entry = figures[name];
    if (!place) { return Promise.resolve(); }
    var options = { actions: false, renderer: entry.renderer || "svg", mode: "vega-lite", tooltip: { theme: "light" } };
    return window.vegaEmbed(place, fitted(entry, place.clientWidth), options).then(function (result) {
      if (views[name]) { views[name].finalize(); }
      views[name] = result.view;
      result.view.addEventListener("click", function (event, item) {
        if (item && item.datum && item.datum.cell) { choose(item.datum.cell); }
      });
      // Vega gives a role to containers without marks, and no name: readers would stop at nothing.
      place.querySelectorAll('[role="graphics-symbol"]:not([aria-label])').forEach(function (element) {
        element.removeAttribute("role");
        element.removeAttribute("aria-roledescription");
      });
      place.setAttribute("data-drawn", "yes");
      return chosen ? feed(result.view, chosen) : null;
    }).catch(function (error) {
      place.textContent = "This figure could not be drawn: " + error.message;
      console.error(name, error);
    });
  }

  function save(name, kind) {
    views[name].toImageURL(kind, kind === "png" ? 3 : 1).then(function (url) {
      var link = document.createElement("a");
      link.href = url;
      link.download = name + "." + kind;
      link.click();
    });
  }

  document.querySelectorAll("button[data-save]").forEach(function (button) {
    button.addEventListener("click", function () { save(button.dataset.of, button.dataset.save); });
  });
  var select = document.getElementById("network");
  if (select) { select.addEventListener("change", function () { choose(select.value); }); }

  var names = Object.keys(figures);
  function drawAll() {
    return names.reduce(function (before, name) { return before.then(function () { return draw(name); }); }, Promise.resolve());
  }
  drawAll().then(function () {
    choose(networks.first);
    document.documentElement.setAttribute("data-ready", "yes");
  });

  var width = document.documentElement.clientWidth, waiting = null;
  window.addEventListener("resize", function () {
    if (document.documentElement.clientWidth === width) { return; }
    width = document.documentElement.clientWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 200);
  });
  window.isosweep = { views: views, choose: choose };
})();
