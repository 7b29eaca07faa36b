package cache

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"unistore/config"
)

var rewrite = flag.Bool("rewrite", false, "write what is there now into the scripts of testdata/policy and into docs/policies.md")

// policyRun is a policy under the class of prefetched blocks, as the index has it, and blocks that have names.
type policyRun struct {
	t      testing.TB
	p      *classes
	blocks map[string]*block // held
	byName map[*block]string
	inUse  map[string]bool // victims that are passed over
}

func newPolicyRun(t testing.TB, p policy) *policyRun {
	return &policyRun{t: t, p: &classes{inner: p}, blocks: map[string]*block{}, byName: map[*block]string{}, inUse: map[string]bool{}}
}

func (r *policyRun) insert(name string, marks marks) {
	if r.blocks[name] != nil {
		r.t.Fatalf("%s is inserted twice", name)
	}
	id := sha256.Sum256([]byte(name))
	r.blocks[name] = &block{v: &version{id: versionID(id[:16])}, marks: marks}
	r.byName[r.blocks[name]] = name
	r.p.insert(r.blocks[name])
}

func (r *policyRun) held(name string) *block {
	b := r.blocks[name]
	if b == nil {
		r.t.Fatalf("%s is not held", name)
	}
	return b
}

// grow gives a block more pages.
func (r *policyRun) grow(name string, pages int) {
	b := r.held(name)
	for range pages {
		b.setValid(b.count())
		r.p.grew(b)
	}
}

func (r *policyRun) remove(name string) {
	r.p.remove(r.held(name))
	delete(r.blocks, name)
}

// evict takes out the first n victims that are not in use.
func (r *policyRun) evict(n int) (names []string) {
	for b := range r.p.victims() {
		name := r.name(b)
		if r.inUse[name] {
			continue
		}
		r.p.remove(b)
		delete(r.blocks, name)
		if names = append(names, name); len(names) == n {
			break
		}
	}
	return names
}

func (r *policyRun) name(b *block) string {
	name := r.byName[b]
	if r.blocks[name] != b {
		r.t.Fatalf("%s is listed and not held", name)
	}
	return name
}

// names lists a queue, the oldest first, and checks its links.
func (r *policyRun) names(q *queue) []string {
	names := []string{}
	var last *block
	for b := q.oldest; b != nil; last, b = b, b.newer {
		if b.older != last {
			r.t.Fatalf("the link of %s to the older is wrong", r.name(b))
		}
		names = append(names, r.name(b))
	}
	if q.newest != last || q.len != len(names) {
		r.t.Fatalf("the queue %v ends wrong, or counts %d", names, q.len)
	}
	return names
}

// namedQueue is one queue of a policy, the oldest first.
type namedQueue struct {
	name   string
	blocks []string
}

// queues returns the queues of the policy.
func (r *policyRun) queues() (out []namedQueue) {
	add := func(name string, q *queue) { out = append(out, namedQueue{name, r.names(q)}) }
	add("unread", &r.p.unread)
	switch p := r.p.inner.(type) {
	case *lru:
		add("blocks", &p.blocks)
	case *s3fifo:
		add("small", &p.small)
		add("main", &p.main)
	case *tinylfu:
		add("window", &p.window)
		add("probation", &p.probation)
		add("protected", &p.protected)
	}
	return out
}

// do runs one command of a script and returns what it shows.
func (r *policyRun) do(cmd string, args []string) string {
	num := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			r.t.Fatal(err)
		}
		return n
	}
	switch cmd {
	case "budget":
		r.p.budget = int64(num(args[0]))
	case "grow":
		r.grow(args[0], num(args[1]))
	case "evict":
		return strings.TrimSpace("evicted: "+strings.Join(r.evict(num(args[0])), " ")) + "\n"
	case "queues":
		out := ""
		for _, q := range r.queues() {
			if q.name != "unread" || len(q.blocks) > 0 {
				out += strings.TrimSpace(q.name+": "+strings.Join(q.blocks, " ")) + "\n"
			}
		}
		return out
	default:
		for _, name := range args {
			r.doOne(cmd, name)
		}
	}
	return ""
}

func (r *policyRun) doOne(cmd, name string) {
	switch cmd {
	case "insert":
		r.insert(name, 0)
	case "prefetch":
		r.insert(name, markPrefetched)
	case "use": // another use
		r.p.touch(r.held(name), true)
	case "read": // more of the same use
		r.p.touch(r.held(name), false)
	case "remove":
		r.remove(name)
	case "hold":
		r.inUse[name] = true
	case "release":
		delete(r.inUse, name)
	default:
		r.t.Fatalf("unknown command %q", cmd)
	}
}

// TestPolicyScripts runs testdata/policy. A script is commands, a line of dashes and what they show, then
// an empty line, and again. -rewrite writes what they show now.
func TestPolicyScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/policy/*")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(script))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(script) {
				t.Errorf("shows\n%s", got)
			}
		})
	}
}

func runScript(t *testing.T, script string) string {
	const dashes = "----\n"
	var out bytes.Buffer
	var r *policyRun
	for i, part := range strings.Split(strings.TrimSuffix(script, "\n"), "\n\n") {
		if i > 0 {
			out.WriteByte('\n')
		}
		commands, _, shows := strings.Cut(part+"\n", dashes)
		out.WriteString(commands)
		got := ""
		for line := range strings.Lines(commands) {
			text, _, _ := strings.Cut(line, "#")
			words := strings.Fields(text)
			switch {
			case len(words) == 0:
			case words[0] == "policy":
				r = newPolicyRun(t, newPolicy(words[1]))
			default:
				got += r.do(words[0], words[1:])
			}
		}
		if shows || got != "" {
			fmt.Fprint(&out, dashes, got)
		}
	}
	return out.String()
}

// The configuration takes the policies that exist, and no others.
func TestPolicyNames(t *testing.T) {
	for _, name := range append(slices.Clone(Policies), "") {
		if newPolicy(name) == nil {
			t.Errorf("no policy %q", name)
		}
	}
	for _, name := range append(slices.Clone(Policies), "arc") {
		_, err := config.Load(config.LoadOptions{DefaultDir: t.TempDir(), Environ: []string{"UNISTORE_CACHE_POLICY=" + name}})
		if (err == nil) != slices.Contains(Policies, name) {
			t.Errorf("policy %q in the configuration: %v", name, err)
		}
	}
	if newPolicy("arc") != nil || newPolicy("LRU") != nil {
		t.Error("a policy that does not exist")
	}
}
