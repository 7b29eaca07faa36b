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
	d := xml.NewDecoder(strings.NewReader(plot([]*Result{r, r})))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
