import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { type Curve, smooth } from "../lib/build";

const HEIGHT = 220;
const NOISY = 40;

/** A curve with its smoothed trend. Redrawn from the page's colours whenever the theme changes. */
export function CurvePlot({ curve, name, total }: { curve: Curve; name: string; total: number }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef<uPlot.AlignedData>([[], [], []]);

  useEffect(() => {
    const noisy = curve.y.length > NOISY;
    newest.current = [curve.x, noisy ? curve.y : [], noisy ? smooth(curve.y) : curve.y];
    if (!noisy) newest.current[1] = curve.y.map(() => null);
    plot.current?.setData(newest.current);
  }, [curve]);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, total), newest.current, element);
    };
    const resize = new ResizeObserver(() =>
      plot.current?.setSize({ width: Math.max(element.clientWidth, 200), height: HEIGHT }),
    );
    draw();
    resize.observe(element);
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      resize.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [total]);

  const first = curve.y[0];
  const last = smooth(curve.y).at(-1);
  const words = first === undefined || last === undefined ? name : `${name}: from ${first.toPrecision(3)} to ${last.toPrecision(3)}`;
  return <div ref={box} className="curve" role="img" aria-label={words} />;
}

function options(element: HTMLElement, total: number): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: colour("--quiet"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: Math.max(element.clientWidth, 200),
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, range: (_, low, high) => [Math.min(low ?? 0, 0), Math.max(high ?? 1, total, 1)] } },
    axes: [{ ...axis, size: 30 }, { ...axis, size: 50 }],
    series: [
      {},
      { stroke: colour("--accent-faint"), width: 1, points: { show: false } },
      { stroke: colour("--accent"), width: 2, points: { show: false } },
    ],
  };
}
