import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useCommon } from "../context";
import { type Curve, smooth } from "../lib/build";

const HEIGHT = 220;
const NOISY = 40;

/** A curve with its smoothed trend. Redrawn from the page's colours whenever the theme changes. */
export function CurvePlot({ curve, name, total }: { curve: Curve; name: string; total: number }) {
  const { t } = useTranslation();
  const { settings } = useCommon();
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
  }, [total, settings.theme]);

  const first = curve.y[0];
  const last = smooth(curve.y).at(-1);
  const words = first === undefined || last === undefined ? name : t("build.curveWords", { name, first: first.toPrecision(3), last: last.toPrecision(3) });
  return <div ref={box} className="curve" role="img" aria-label={words} />;
}

function options(element: HTMLElement, total: number): uPlot.Options {
  // Only a colour that is used is resolved: the variables hold one for light and one for dark.
  const probe = document.createElement("span");
  element.append(probe);
  const colour = (name: string) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const [quiet, line, faint, accent] = (["--quiet", "--line", "--accent-faint", "--accent"] as const).map(colour) as [string, string, string, string];
  probe.remove();
  const axis: uPlot.Axis = {
    stroke: quiet,
    font: "12px system-ui, sans-serif",
    grid: { stroke: line, width: 1 },
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
      { stroke: faint, width: 1, points: { show: false } },
      { stroke: accent, width: 2, points: { show: false } },
    ],
  };
}
