package gateway

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"unistore/faults"
)

//go:embed admin.html
var pageText string

var pageTemplate = template.Must(template.New("admin").Funcs(template.FuncMap{"bytes": humanBytes}).Parse(pageText))

// pageData is what the status page shows; the template escapes it.
type pageData struct {
	Version, Engine, Uptime string
	Listen, NotReady        []string
	Cache                   cacheState
	Upstreams               []upstreamState
	FaultsEnabled           bool
	Faults                  []faults.Status
}

// page is the status page: plain HTML, nothing loaded from anywhere.
func (a *admin) page(c *fiber.Ctx) error {
	data := pageData{
		Version: a.cfg.Version, Engine: EngineVersion(), Uptime: time.Since(a.started).Round(time.Second).String(),
		Listen: a.state.Addresses(), NotReady: a.state.notReady(c.UserContext()),
		Cache: a.state.cacheState(), Upstreams: a.state.upstreamStates(c.UserContext()),
		FaultsEnabled: a.cfg.Faults != nil, Faults: a.cfg.Faults.List(),
	}
	var out strings.Builder
	if err := pageTemplate.Execute(&out, data); err != nil {
		return err
	}
	c.Type("html", "utf-8")
	return c.SendString(out.String())
}

// humanBytes is a size with three digits or more and a binary unit.
func humanBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.4g %ciB", f, units[i])
}
