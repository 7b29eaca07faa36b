package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"unistore/cache"
)

// verifyEvery is the time between two lines of progress. They are also how we learn that the caller left.
const verifyEvery = 250 * time.Millisecond

// verification is what POST /cache/verify takes, which only the admin listener has: nothing for everything, or a
// bucket and a prefix in it.
type verification struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
}

// verifyState is a line of progress: bytes that were checked, of about how many, and what was bad.
type verifyState struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	Bad   int64 `json:"bad"`
}

// verifyResult is the last line, unless that is an error.
type verifyResult struct {
	Blocks     int64 `json:"blocks"`
	Pages      int64 `json:"pages"`
	Bytes      int64 `json:"bytes"`
	Corrupt    int64 `json:"corrupt"`    // blocks with other bytes than were written
	Unreadable int64 `json:"unreadable"` // blocks whose file is missing or fails
	Skipped    int64 `json:"skipped"`    // blocks that changed meanwhile
}

// verify streams the verification of the cache as lines of JSON. It is one at a time: it uses all that the
// disk gives.
func (a *admin) verify(c *fiber.Ctx) error {
	var what verification
	if body := c.Body(); len(body) > 0 {
		if err := decode(body, &what); err != nil {
			return a.answerError(c, err)
		}
	}
	if what.Prefix != "" && what.Bucket == "" {
		return a.answerError(c, badControl("a prefix needs its bucket"))
	}
	scope, err := a.state.scope(what)
	if err != nil {
		return a.answerError(c, err)
	}
	select {
	case a.turn <- struct{}{}:
	default:
		return a.answerError(c, &controlError{status: http.StatusConflict, code: "Conflict", message: "the cache is being verified already"})
	}
	c.Set("Content-Type", "application/x-ndjson")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { // runs in any case
		defer func() { <-a.turn }()
		a.streamVerify(w, scope)
	})
	return nil
}

func (a *admin) streamVerify(w *bufio.Writer, scope cache.Scope) {
	ctx, cancel := context.WithCancel(a.base)
	defer cancel()
	line := func(v any) {
		if json.NewEncoder(w).Encode(v) != nil || w.Flush() != nil {
			cancel() // the caller left
		}
	}
	var last time.Time
	result, err := a.state.verify(ctx, scope, func(done, total, bad int64) {
		if at := time.Now(); at.Sub(last) >= verifyEvery {
			last = at
			line(verifyState{done, total, bad})
		}
	})
	if err != nil {
		if a.base.Err() == nil && ctx.Err() == nil {
			a.cfg.Log.Error().Err(err).Msg("a verification of the cache was not finished")
		}
		line(controlFailure(err).document())
		return
	}
	line(map[string]verifyResult{"result": result})
}

func (s *gatewayState) scope(what verification) (cache.Scope, error) {
	if what.Bucket == "" {
		return cache.Scope{}, nil
	}
	t, err := s.service.routes.find(what.Bucket)
	if err != nil {
		return cache.Scope{}, err
	}
	return t.scope(what.Prefix), nil
}

func (s *gatewayState) verify(ctx context.Context, scope cache.Scope, progress func(done, total, bad int64)) (verifyResult, error) {
	v, err := s.cache.VerifyMatching(ctx, scope, progress)
	return verifyResult{
		Blocks: v.Blocks, Pages: v.Pages, Bytes: v.Bytes, Corrupt: v.Corrupt, Unreadable: v.Unreadable, Skipped: v.Skipped,
	}, err
}
