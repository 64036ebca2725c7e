// Where a value stands between the ends of a slider: linear, or by factors where the ends lie far apart.

export function scaleOf(low, high, whole) {
  const factors = low > 0 && high / low > 40;
  const at = factors
    ? (value) => Math.log(value / low) / Math.log(high / low)
    : (value) => (high > low ? (value - low) / (high - low) : 0);
  const from = factors ? (share) => low * (high / low) ** share : (share) => low + (high - low) * share;
  const step = whole ? 1 : niceStep((high - low) / 200);
  const near = (value) => {
    const fine = factors ? niceStep(Math.max(value, 1e-9) / 100) : step;
    const unit = whole ? 1 : fine;
    return Number((Math.round(value / unit) * unit).toPrecision(10));
  };
  const inside = (value) => Math.min(high, Math.max(low, value));
  return {
    low,
    high,
    whole,
    share: (value) => Math.min(1, Math.max(0, at(Math.max(value, factors ? low : value)))),
    value: (share) => inside(near(from(Math.min(1, Math.max(0, share))))),
    moved: (value, steps) => {
      if (whole) return inside(value + steps);
      if (factors) return inside(near(value * 1.02 ** steps));
      return inside(near(value + steps * step));
    },
  };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-12)));
  return [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
}
