package bench

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotRow   = 34
	plotLabel = 330
	plotScale = 260 // of a ratio of 1
	plotMost  = 4.0 // ratios beyond are cut here
)

// plot draws a bar for each ratio with its spread, and a mark at each target.
func plot(results []*Result) string {
	var b strings.Builder
	width, height := plotLabel+int(plotMost*plotScale)+80, plotRow*len(results)+50
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprint(&b, `<text x="8" y="20" font-size="14">gateway / rival: median of the rounds, with the least and the largest; the dashed line is the target</text>`+"\n")
	x := func(ratio float64) int { return plotLabel + int(min(ratio, plotMost)*plotScale) }
	for i, r := range results {
		y := 36 + i*plotRow
		colour := "#3a7d44"
		if r.Ratio < r.Target {
			colour = "#b3423a"
		}
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", y+16, html.EscapeString(r.Name+" vs "+r.Rival))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="20" fill="%s"/>`+"\n", plotLabel, y+2, x(r.Ratio)-plotLabel, colour)
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="black"/>`+"\n", x(r.Low), y+12, x(r.High), y+12)
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="black" stroke-dasharray="3 2"/>`+"\n", x(r.Target), y, x(r.Target), y+24)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%.3f</text>`+"\n", x(max(r.High, r.Target))+6, y+16, r.Ratio)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
