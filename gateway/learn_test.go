package gateway

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"unistore/config"
	"unistore/upstream"
)

// heldOpens is a store whose answers to Open wait once they are made.
type heldOpens struct {
	upstream.Backend
	made chan struct{}
	free chan struct{} // closed: nothing waits any more
}

func (h *heldOpens) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	stream, err := h.Backend.Open(ctx, loc, opts)
	select {
	case h.made <- struct{}{}:
		<-h.free
	case <-h.free:
	}
	return stream, err
}

// hold makes the answers to g's reads wait.
func (g *testGateway) hold(dir string) *heldOpens {
	g.t.Helper()
	h := &heldOpens{Backend: newLocal(g.t, dir), made: make(chan struct{}), free: make(chan struct{})}
	g.stores["disk"] = upstream.NewStore("disk", h, upstream.StoreConfig{Metrics: g.metrics})
	return h
}

// learning waits until so many reads of the process are about to learn an object, leaders and followers.
func learning(t *testing.T, n int) {
	t.Helper()
	buf := make([]byte, 4<<20)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if strings.Count(stacks, "gateway.(*learner).get(") >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %d reads are learning", n)
		}
	}
}

type readResult struct {
	body   []byte
	status string
	err    error
}

func (g *testGateway) start(key string) <-chan readResult {
	done := make(chan readResult, 1)
	go func() {
		body, status, err := g.get("data", key, "")
		done <- readResult{body, status, err}
	}()
	return done
}

func (r readResult) check(t *testing.T, name string, want []byte, status string) {
	t.Helper()
	if r.err != nil || !bytes.Equal(r.body, want) || !strings.Contains(r.status, status) {
		t.Errorf("%s: right bytes %t (%d), %s, want %s, %v", name, bytes.Equal(r.body, want), len(r.body), r.status, status, r.err)
	}
}

// Whoever reads after an invalidation does not join a question from before it, and the answer to that one is not kept.
func TestInvalidateVoidsWhatIsBeingLearned(t *testing.T) {
	for name, what := range map[string]string{"key": `{"bucket":"data","key":"k"}`, "prefix": `{"bucket":"data","prefix":""}`, "all": `{"all":true}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			g := startGateway(t, dir, nil)
			g.bucket("data")
			body := bytesOf(1, 200_000)
			g.put("data", "k", body)
			held := g.hold(dir)
			before := g.start("k")
			<-held.made
			if status, text := g.operator("POST", "invalidate", what); status != 200 {
				t.Fatalf("%d %s", status, text)
			}
			after := g.start("k")
			select {
			case <-held.made: // its own question
			case <-time.After(10 * time.Second):
				t.Error("the read after the invalidation has joined the one before")
			}
			close(held.free)
			(<-after).check(t, "after", body, "fwd=miss; fwd-status=206")
			old := <-before
			old.check(t, "before", body, "fwd-status=206")
			if strings.Contains(old.status, "stored") {
				t.Errorf("before: %s", old.status)
			}
		})
	}
}

// Under revalidate and no-cache a read is not content with the answer to a question from before it came.
func TestAReadThatMustBeConfirmedDoesNotJoinAnOlderQuestion(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, func(cfg *config.Config) { cfg.Buckets[0].Freshness = config.Freshness{Revalidate: true} })
	behind := startGateway(t, t.TempDir(), func(cfg *config.Config) { cfg.Upstreams = g.cfg.Upstreams })
	g.bucket("data")
	old, replacement := bytesOf(1, 200_000), bytesOf(2, 150_000)
	g.put("data", "k", old)
	held := g.hold(dir)
	first := g.start("k")
	<-held.made
	behind.put("data", "k", replacement)
	second := g.start("k")
	learning(t, 2)
	close(held.free)
	// What the second read learns drops the version that the first is being sent: it gets it whole, or cut.
	if r := <-first; r.err == nil || !bytes.HasPrefix(old, r.body) {
		r.check(t, "first", old, "fwd=miss")
	}
	(<-second).check(t, "second", replacement, "fwd-status=206")
}

// Those who wait for an answer that a write makes void ask again.
func TestFollowersOfAVoidAnswerAskAgain(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, nil)
	g.bucket("data")
	old, replacement := bytesOf(1, 200_000), bytesOf(2, 150_000)
	g.put("data", "k", old)
	held := g.hold(dir)
	asked := g.upstreamCalls("Open")
	first := g.start("k")
	<-held.made
	second := g.start("k")
	learning(t, 2)
	g.put("data", "k", replacement)
	close(held.free)
	(<-first).check(t, "first", old, "fwd=bypass; fwd-status=206")
	(<-second).check(t, "second", replacement, "fwd=miss")
	third, status, err := g.get("data", "k", "")
	readResult{third, status, err}.check(t, "third", replacement, "hit")
	if n := g.upstreamCalls("Open") - asked; n != 2 {
		t.Errorf("%v questions, want 2", n)
	}
}
