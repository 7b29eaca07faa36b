package bench

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The plot of windows: sizes in pixels, axes in milliseconds (logarithmic) and MiB.
const (
	windowsWidth, windowsHeight = 760, 420
	windowsLeft, windowsTop     = 60, 50
	windowsRight, windowsBottom = 560, 360
	windowsTick                 = 32 // MiB
)

var windowColours = [...]string{"#3a7d44", "#2b5c8a", "#b3423a", "#8a6d2b"}

// plotWindows draws the window against the time to the first byte, a line for each reader. At each point is what the scan
// reached, as a share of its limit. There is at least one scan.
func plotWindows(list []Window) string {
	low, high, most := list[0].FirstByte, list[0].FirstByte, 0.0
	readers := []string{}
	for _, w := range list {
		low, high, most = min(low, w.FirstByte), max(high, w.FirstByte), max(most, w.Window)
		if !slices.Contains(readers, w.Reader) {
			readers = append(readers, w.Reader)
		}
	}
	most = math.Ceil(most*1.1/windowsTick) * windowsTick
	x := func(ms float64) float64 {
		return windowsLeft + 20 + (windowsRight-windowsLeft-40)*math.Log(ms/low)/max(math.Log(high/low), 1e-9)
	}
	y := func(mib float64) float64 { return windowsBottom - (windowsBottom-windowsTop)*mib/most }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", windowsWidth, windowsHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", windowsWidth, windowsHeight)
	fmt.Fprint(&b, `<text x="8" y="20" font-size="14">window of a cold scan against the store's time to the first byte</text>`+"\n")
	fmt.Fprint(&b, `<text x="8" y="36">at each point: the scan's throughput, as a share of what store and reader allow</text>`+"\n")
	for mib := 0.0; mib <= most; mib += windowsTick {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.0f" x2="%d" y2="%.0f" stroke="#ddd"/>`+"\n", windowsLeft, y(mib), windowsRight, y(mib))
		fmt.Fprintf(&b, `<text x="%d" y="%.0f" text-anchor="end">%.0f MiB</text>`+"\n", windowsLeft-4, y(mib)+4, mib)
	}
	for i, reader := range readers {
		plotReader(&b, windowColours[i%len(windowColours)], i, list, reader, x, y)
	}
	ticks := map[float64]bool{}
	for _, w := range list {
		if !ticks[w.FirstByte] {
			ticks[w.FirstByte] = true
			fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%.0f ms</text>`+"\n", x(w.FirstByte), windowsBottom+18, w.FirstByte)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// plotReader draws the line of one reader, the i-th, and its name.
func plotReader(b *strings.Builder, colour string, i int, list []Window, reader string, x, y func(float64) float64) {
	var points []string
	for _, w := range list {
		if w.Reader != reader {
			continue
		}
		px, py := x(w.FirstByte), y(w.Window)
		points = append(points, fmt.Sprintf("%.0f,%.0f", px, py))
		fmt.Fprintf(b, `<circle cx="%.0f" cy="%.0f" r="3.5" fill="%s"/>`+"\n", px, py, colour)
		fmt.Fprintf(b, `<text x="%.0f" y="%.0f" fill="%s" text-anchor="middle">%.2f</text>`+"\n", px, py-9, colour, w.Rate/w.Limit)
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", windowsRight+10, windowsTop+20+18*i, colour, html.EscapeString(reader))
}
