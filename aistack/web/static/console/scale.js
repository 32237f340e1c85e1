// The logarithmic scale of the latency chart: round marks that enclose all values. Pure.

const MARKS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400];

// Values are seconds. `low` is less than `high` whatever they are; `share` is the place of a value
// between the two, from 0 to 1.
export function scale(values) {
  const least = Math.max(Math.min(...values), MARKS[0]);
  const most = Math.max(...values, MARKS[0]);
  const low = MARKS.findLast((mark) => mark <= least);
  const high = MARKS.find((mark) => mark > most) ?? 2 * most;
  return {
    low, high,
    marks: MARKS.filter((mark) => mark >= low && mark <= high),
    share: (value) => Math.log(Math.max(value, low) / low) / Math.log(high / low),
  };
}

export function label(mark) {
  if (mark < 1) return `${mark * 1000} ms`;
  if (mark < 60) return `${mark} s`;
  if (mark < 3600) return `${mark / 60} min`;
  return mark < 86400 ? `${mark / 3600} h` : `${mark / 86400} d`;
}
