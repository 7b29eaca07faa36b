package cache

import "testing"

// TestOverwrite: what is learned while an object is being written does not survive the process.
func TestOverwrite(t *testing.T) {
	k := keyOf("k")
	for _, test := range []struct {
		name string
		do   func(c *Cache, done func())
		keep bool
	}{
		{"learned meanwhile", func(c *Cache, _ func()) { c.Learn(k, c.Begin(k), attrs("old", true)) }, false},
		{"learned and confirmed meanwhile", func(c *Cache, _ func()) {
			c.Learn(k, c.Begin(k), attrs("old", true))
			c.Learn(k, c.Begin(k), attrs("old", true))
		}, false},
		{"learned while another write goes on", func(c *Cache, done func()) {
			second := c.Overwrite(k).Done
			c.Forget(k)
			second()
			second()
			c.Learn(k, c.Begin(k), attrs("old", true))
		}, false},
		{"learned afterwards", func(c *Cache, done func()) {
			c.Forget(k)
			done()
			c.Learn(k, c.Begin(k), attrs("new", true))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t, nil)
			e.c.Learn(k, e.c.Begin(k), attrs("old", true))
			done := e.c.Overwrite(k).Done
			e.c.Forget(k)
			test.do(e.c, done)
			if _, ok := e.c.Stat(k); !ok {
				t.Error("it is not known in the process that has learned it")
			}
			e.restart()
			if got, ok := e.c.Stat(k); ok != test.keep {
				t.Errorf("after a restart: %+v, %t", got.Attrs, ok)
			}
		})
	}
}
