package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// The model of a policy: the same rules over plain lists of names, the oldest first, and a victim is found by looking
// at all of them. What is approximate (ghost, sketch, climber) is tested by itself; the model has its own.
type policyModel interface {
	insert(name string)
	touch(name string, again bool)
	remove(name string)
	// evict takes out up to n victims for which inUse is false.
	evict(n int, inUse map[string]bool) []string
	queues() []namedQueue
}

func (q namedQueue) equal(o namedQueue) bool {
	return q.name == o.name && slices.Equal(q.blocks, o.blocks)
}

func cut(list []string, name string) []string {
	i := slices.Index(list, name)
	return slices.Delete(list, i, i+1)
}

// firstNot returns the first that is not in seen, or "".
func firstNot(list []string, seen map[string]bool) string {
	for _, name := range list {
		if !seen[name] {
			return name
		}
	}
	return ""
}

// modelNames are the blocks of the model tests.
var modelNames = func() (names []string) {
	for i := range 150 {
		names = append(names, fmt.Sprint(i))
	}
	return names
}()

var identities = func() map[string]uint64 {
	m := map[string]uint64{}
	r := newPolicyRun(nil, &lru{})
	for _, name := range modelNames {
		r.insert(name, 0)
		m[name] = r.blocks[name].identity()
	}
	return m
}()

func identityOf(name string) uint64 { return identities[name] }

type lruModel struct{ blocks []string }

func (m *lruModel) insert(name string) { m.blocks = append(m.blocks, name) }
func (m *lruModel) remove(name string) { m.blocks = cut(m.blocks, name) }
func (m *lruModel) touch(name string, _ bool) {
	m.remove(name)
	m.insert(name)
}

func (m *lruModel) evict(n int, inUse map[string]bool) (out []string) {
	for _, name := range slices.Clone(m.blocks) {
		if len(out) < n && !inUse[name] {
			m.remove(name)
			out = append(out, name)
		}
	}
	return out
}

func (m *lruModel) queues() []namedQueue { return []namedQueue{{"blocks", m.blocks}} }

type s3fifoModel struct {
	small, main []string
	hits        map[string]int
	ghost       ghost
}

func (m *s3fifoModel) held() int { return len(m.small) + len(m.main) }

func (m *s3fifoModel) insert(name string) {
	m.hits[name] = 0
	if m.ghost.take(identityOf(name), m.held()) {
		m.main = append(m.main, name)
	} else {
		m.small = append(m.small, name)
	}
}

func (m *s3fifoModel) touch(name string, again bool) {
	if again {
		m.hits[name] = 1
	}
}

func (m *s3fifoModel) remove(name string) {
	if slices.Contains(m.small, name) {
		m.small = cut(m.small, name)
	} else {
		m.main = cut(m.main, name)
	}
}

func (m *s3fifoModel) evict(n int, inUse map[string]bool) (out []string) {
	offered := map[string]bool{}
	for len(out) < n {
		s, f := firstNot(m.small, offered), firstNot(m.main, offered)
		name := f
		fromSmall := s != "" && (f == "" || len(m.small)*10 > m.held())
		if fromSmall {
			name = s
		}
		if name == "" {
			break
		}
		if m.hits[name] > 0 {
			m.hits[name] = 0
			m.remove(name)
			m.main = append(m.main, name)
			continue
		}
		offered[name] = true
		if inUse[name] {
			continue
		}
		if fromSmall {
			m.ghost.add(identityOf(name), m.held())
		}
		m.remove(name)
		out = append(out, name)
	}
	return out
}

func (m *s3fifoModel) queues() []namedQueue {
	return []namedQueue{{"small", m.small}, {"main", m.main}}
}

type tinylfuModel struct {
	window, probation, protected []string
	sketch                       sketch
	climber                      climber
	full, owed                   int
}

func (m *tinylfuModel) held() int { return len(m.window) + len(m.probation) + len(m.protected) }

func (m *tinylfuModel) room() int { return max(1, int(m.climber.window*float64(m.held()))) }

func (m *tinylfuModel) overflow() {
	m.probation = append(m.probation, m.window[0])
	m.window = m.window[1:]
}

func (m *tinylfuModel) sample(hit bool) {
	before := m.room()
	if m.full > 0 && m.climber.sample(hit, m.held()) {
		m.owed = max(0, before-m.room())
	}
	for range min(m.owed, 4) {
		m.owed--
		if len(m.window) > 1 {
			m.overflow()
		}
	}
}

func (m *tinylfuModel) insert(name string) {
	m.sketch.fit(m.held() + 1)
	m.sketch.use(identityOf(name), m.held()+1)
	m.window = append(m.window, name)
	m.sample(false)
	for (m.full == 0 || m.held() <= m.full) && len(m.window) > m.room() {
		m.overflow()
	}
}

func (m *tinylfuModel) touch(name string, again bool) {
	if again {
		m.sketch.use(identityOf(name), m.held())
		m.sample(true)
	}
	switch {
	case slices.Contains(m.window, name):
		m.window = append(cut(m.window, name), name)
	case slices.Contains(m.protected, name):
		m.protected = append(cut(m.protected, name), name)
	case !again:
		m.probation = append(cut(m.probation, name), name)
	default:
		m.probation = cut(m.probation, name)
		m.protected = append(m.protected, name)
		if float64(len(m.protected)) > 0.8*float64(m.held()-len(m.window)) {
			m.probation = append(m.probation, m.protected[0])
			m.protected = m.protected[1:]
		}
	}
}

func (m *tinylfuModel) remove(name string) {
	for _, q := range []*[]string{&m.window, &m.probation, &m.protected} {
		if slices.Contains(*q, name) {
			*q = cut(*q, name)
		}
	}
}

func (m *tinylfuModel) evict(n int, inUse map[string]bool) (out []string) {
	offered := map[string]bool{}
	for len(out) < n {
		w, victim := firstNot(m.window, offered), firstNot(m.probation, offered)
		if victim == "" {
			victim = firstNot(m.protected, offered)
		}
		switch {
		case victim == "":
			victim = w
		case w == "" || len(m.window) < m.room():
		case m.sketch.estimate(identityOf(w)) > m.sketch.estimate(identityOf(victim)):
			m.window = cut(m.window, w)
			m.probation = append(m.probation, w)
		default:
			victim = w
		}
		if victim == "" {
			break
		}
		offered[victim] = true
		if !inUse[victim] {
			m.remove(victim)
			out = append(out, victim)
		}
	}
	m.full = max(1, m.held())
	return out
}

func (m *tinylfuModel) queues() []namedQueue {
	return []namedQueue{{"window", m.window}, {"probation", m.probation}, {"protected", m.protected}}
}

// classModel is a policy's model under the class of prefetched blocks.
type classModel struct {
	policyModel
	unread []string
	pages  map[string]int
	budget int
}

func (m *classModel) unreadPages() (n int) {
	for _, name := range m.unread {
		n += m.pages[name]
	}
	return n
}

func (m *classModel) touch(name string, again bool) {
	if !slices.Contains(m.unread, name) {
		m.policyModel.touch(name, again)
		return
	}
	m.unread = cut(m.unread, name)
	m.policyModel.insert(name)
}

func (m *classModel) remove(name string) {
	if !slices.Contains(m.unread, name) {
		m.policyModel.remove(name)
		return
	}
	m.unread = cut(m.unread, name)
}

func (m *classModel) evict(n int, inUse map[string]bool) (out []string) {
	offered := map[string]bool{}
	take := func(inBudget bool) {
		for len(out) < n && (inBudget || m.unreadPages() > m.budget) {
			name := firstNot(m.unread, offered)
			if name == "" {
				return
			}
			offered[name] = true
			if !inUse[name] {
				m.unread = cut(m.unread, name)
				out = append(out, name)
			}
		}
	}
	take(false)
	if len(out) < n {
		out = append(out, m.policyModel.evict(n-len(out), inUse)...)
	}
	take(true)
	return out
}

func (m *classModel) queues() []namedQueue {
	return append([]namedQueue{{"unread", m.unread}}, m.policyModel.queues()...)
}

func newPolicyModel(name string) *classModel {
	m := &classModel{pages: map[string]int{}}
	switch name {
	case "lru":
		m.policyModel = &lruModel{}
	case "s3fifo":
		m.policyModel = &s3fifoModel{hits: map[string]int{}}
	case "tinylfu":
		m.policyModel = &tinylfuModel{climber: newClimber()}
	}
	return m
}

// TestPolicyModel runs random operations on each policy and its model, which must be in the same order always.
// CACHE_MODEL_SEED repeats a run.
func TestPolicyModel(t *testing.T) {
	seed := envInt("CACHE_MODEL_SEED", rand.Uint64()>>1)
	for _, name := range Policies {
		for i := range uint64(5) {
			t.Run(fmt.Sprintf("%s seed %d", name, seed+i), func(t *testing.T) {
				runPolicyModel(t, name, rand.New(rand.NewPCG(seed+i, 7)))
			})
		}
	}
}

func runPolicyModel(t *testing.T, name string, r *rand.Rand) {
	run, model := newPolicyRun(t, newPolicy(name)), newPolicyModel(name)
	if p, ok := run.p.inner.(*tinylfu); ok { // steps that are large beside so few blocks
		p.climber.window, p.climber.step = r.Float64(), r.Float64()-0.7
		model.policyModel.(*tinylfuModel).climber = p.climber
	}
	model.budget = r.IntN(20)
	run.p.budget = int64(model.budget)
	room := 5 + r.IntN(60)
	for range 5000 {
		var names []string // held, in an order that the seed gives
		for _, name := range modelNames {
			if run.blocks[name] != nil {
				names = append(names, name)
			}
		}
		var op string
		switch n := r.IntN(100); {
		case n < 45: // a miss, or a hit: low numbers more often
			name := modelNames[int(float64(len(modelNames))*r.Float64()*r.Float64())]
			if run.blocks[name] != nil {
				op = "use " + name
				run.p.touch(run.blocks[name], true)
				model.touch(name, true)
				break
			}
			op = "insert " + name
			if len(names) >= room {
				evictBoth(t, run, model, 1+r.IntN(2))
			}
			prefetch := r.IntN(4) == 0
			model.pages[name] = 0
			if prefetch {
				run.insert(name, markPrefetched)
				model.unread = append(model.unread, name)
			} else {
				run.insert(name, 0)
				model.insert(name)
			}
		case len(names) == 0:
		case n < 60:
			name := names[r.IntN(len(names))]
			op = "read " + name
			run.p.touch(run.blocks[name], false)
			model.touch(name, false)
		case n < 70:
			name := names[r.IntN(len(names))]
			op = "grow " + name
			run.grow(name, 1)
			model.pages[name]++
		case n < 75:
			name := names[r.IntN(len(names))]
			op = "remove " + name
			run.remove(name)
			model.remove(name)
		case n < 85:
			name := names[r.IntN(len(names))]
			op = "in use " + name
			run.inUse[name] = !run.inUse[name]
		default:
			k := 1 + r.IntN(3)
			if r.IntN(50) == 0 {
				k = len(names)
			}
			op = fmt.Sprint("evict ", k)
			evictBoth(t, run, model, k)
		}
		if got, want := run.queues(), model.queues(); !slices.EqualFunc(got, want, namedQueue.equal) {
			t.Fatalf("after %s:\n got %v\nwant %v", op, got, want)
		}
		if run.p.pages != int64(model.unreadPages()) {
			t.Fatalf("after %s: %d unread pages, want %d", op, run.p.pages, model.unreadPages())
		}
	}
	clear(run.inUse)
	n := len(run.blocks)
	if got := run.evict(n + 1); len(got) != n {
		t.Errorf("%d victims of %d blocks", len(got), n)
	}
}

func evictBoth(t *testing.T, run *policyRun, model *classModel, n int) {
	t.Helper()
	got, want := run.evict(n), model.evict(n, run.inUse)
	if !slices.Equal(got, want) {
		t.Fatalf("evicted %v, want %v", got, want)
	}
}
