package bench

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	r := &Result{Name: "a<b", Rival: "c", Target: .95, Gateway: []float64{90, 100, 110, 400}, Other: []float64{100, 100, 100, 100}, CPU: []float64{1, 2, 3, 4}}
	r.summarise()
	if r.Ratio != 1.05 || r.Low != .9 || r.High != 4 || !strings.HasSuffix(r.String(), "ok") {
		t.Errorf("%+v: %s", r, r)
	}
	r.Target = 1.06
	if !strings.HasSuffix(r.String(), "BELOW") {
		t.Error(r.String())
	}
	wellFormed(t, plot([]*Result{r, r}))
}

func TestPlotWindows(t *testing.T) {
	text := plotWindows([]Window{
		{FirstByte: 10, Reader: "a<b", Window: 30, Rate: 390, Limit: 400}, {FirstByte: 10, Reader: "c", Window: 5, Rate: 100, Limit: 100},
		{FirstByte: 1000, Reader: "a<b", Window: 128, Rate: 100, Limit: 400}, {FirstByte: 1000, Reader: "c", Window: 110, Rate: 95, Limit: 100},
	})
	wellFormed(t, text)
	if n := strings.Count(text, "<polyline"); n != 2 {
		t.Errorf("%d lines, want one for each reader", n)
	}
	if n := strings.Count(text, "<circle"); n != 4 {
		t.Errorf("%d points, want 4", n)
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
