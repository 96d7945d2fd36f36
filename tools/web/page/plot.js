// A plot of a mount's replicas, and the same as a table. Without uPlot there is only the table.
import {el, setText, show} from './dom.js';
import {kMeasures, loadHistory} from './history.js';
import {bytes, duration, moment, rate} from './words.js';

const kEvery = 10000;
const kHeight = 190;
const kRows = 12;
// Replicas are told apart by dashes, and not by colour alone.
const kDashes = [[], [8, 4], [2, 4], [10, 4, 2, 4]];
// Of the axis of time, in seconds: none is a part of one.
const kSteps = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600];
const kFormats = {lag: duration, throughput: rate, pending: bytes};
const kRanges = {hour: 'Last hour', day: 'Last day'};

let made = 0;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function radios(legend, options, onchange) {
  made += 1;
  const group = `choice-${made}`;
  return el('fieldset', {class: 'choice'}, el('legend', {class: 'unseen'}, legend),
      ...Object.entries(options).map(([value, label], index) => el('label', {},
          el('input', {type: 'radio', name: group, value, checked: index === 0,
            onchange: () => onchange(value)}), el('span', {}, label))));
}

export class Plots {
  constructor(mountId) {
    this.mountId = mountId;
    this.measure = 'lag';
    this.range = 'hour';
    this.timer = 0;
    this.plot = null;
    this.shape = '';
    this.canvas = el('div', {class: 'plot', 'aria-hidden': 'true'});
    this.note = el('p', {class: 'help'});
    this.table = el('table', {});
    this.asTable = el('details', {class: 'as-table'}, el('summary', {}, 'As a table'),
        el('div', {class: 'scrolls', tabindex: '0', role: 'region', 'aria-label': 'Table of the plot'}, this.table));
    if (!window.uPlot) this.asTable.open = true;
    const labels = Object.fromEntries(Object.entries(kMeasures).map(([key, one]) => [key, one.label]));
    const choose = (key) => (value) => {
      this[key] = value;
      this.refresh();
    };
    this.node = el('section', {class: 'plots', 'aria-label': 'History'},
        el('div', {class: 'choices'}, radios('What', labels, choose('measure')),
            radios('How far back', kRanges, choose('range'))),
        this.canvas, this.note, this.asTable);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  setVisible(isVisible) {
    clearInterval(this.timer);
    this.timer = 0;
    if (!isVisible) return;
    this.timer = setInterval(() => this.refresh(), kEvery);
    // At once, when it is in the document; and again when there are two samples.
    for (const delay of [0, 1500]) setTimeout(() => this.refresh(), delay);
  }

  async refresh() {
    if (document.hidden || !this.node.isConnected) return;
    this.data = await loadHistory(this.mountId, this.measure, this.range);
    const {since} = this.data;
    setText(this.note, Number.isFinite(since) ?
        `Since ${moment(since, true)}, when this page was opened: this tandemfs keeps no history.` : '');
    this.fillTable();
    this.draw();
  }

  redraw() {
    this.shape = '';
    if (this.data) this.draw();
  }

  resize() {
    if (this.plot && this.canvas.clientWidth > 0) {
      this.plot.setSize({width: this.canvas.clientWidth, height: kHeight});
    }
  }

  draw() {
    const series = this.data.series.filter((one) => one.times.length > 1);
    show(this.canvas, Boolean(window.uPlot) && series.length > 0);
    if (this.canvas.hidden || this.canvas.clientWidth === 0) return;
    const times = series.flatMap((one) => one.times);
    this.step = (Math.max(...times) - Math.min(...times)) / 10;
    const columns = uPlot.join(series.map((one) => [one.times, one.values]));
    const shape = `${this.measure} ${series.map((one) => one.name).join('\n')}`;
    if (this.plot && shape === this.shape) {
      this.plot.setData(columns);
      return;
    }
    this.plot?.destroy();
    this.shape = shape;
    this.plot = new uPlot(this.options(series), columns, this.canvas);
  }

  options(series) {
    const format = kFormats[this.measure];
    const axis = {stroke: color('--faint'), grid: {stroke: color('--line'), width: 1},
      ticks: {stroke: color('--line'), width: 1}, font: '12px system-ui, sans-serif'};
    return {
      width: this.canvas.clientWidth,
      height: kHeight,
      scales: {y: {range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1]}},
      axes: [{...axis, space: 70, incrs: kSteps, values: (_, ticks) => ticks.map((tick) => moment(tick, this.step < 30).replace(/^.*, /, ''))},
        {...axis, size: 78, values: (_, ticks) => ticks.map(format)}],
      series: [
        {value: (_, time) => (time === null ? '–' : moment(time, true))},
        ...series.map((one, index) => ({
          label: one.name,
          stroke: color(`--series-${index % 4}`),
          dash: kDashes[index % kDashes.length],
          width: 2,
          spanGaps: true,
          points: {show: false},
          value: (_, value) => (value === null || value === undefined ? '–' : format(value)),
        })),
      ],
    };
  }

  // Of so many rows that they can be read: the greatest value in each stretch of time.
  fillTable() {
    const format = kFormats[this.measure];
    const {series} = this.data;
    const times = series.flatMap((one) => one.times);
    const first = Math.min(...times);
    const step = Math.max(1, (Math.max(...times) - first) / kRows);
    const rows = [];
    for (let row = 0; times.length > 0 && row < kRows; row += 1) {
      const from = first + row * step;
      const most = series.map((one) => one.values.reduce((high, value, i) => {
        const isIn = one.times[i] >= from && (one.times[i] < from + step || row === kRows - 1);
        return isIn && value !== null ? Math.max(high, value) : high;
      }, -1));
      if (most.every((value) => value < 0)) continue;
      rows.push(el('tr', {}, el('th', {scope: 'row'}, moment(from, step < 60)),
          ...most.map((value) => el('td', {}, value < 0 ? 'unknown' : format(value)))));
    }
    this.table.replaceChildren(
        el('caption', {}, `${kMeasures[this.measure].label}, ${kRanges[this.range].toLowerCase()}: the most in each stretch of time`),
        el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'From'),
            ...series.map((one) => el('th', {scope: 'col'}, one.name)))),
        el('tbody', {}, ...rows));
  }
}
