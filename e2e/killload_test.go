//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// writer writes one key again and again. It knows what the object may hold: what was answered last, and what has not
// been answered since.
type writer struct {
	v    *victim
	key  string
	r    *rand.Rand
	may  []content
	ever bool          // a write was answered: there is an object
	left *clientUpload // an upload that the last crash has cut off
	what content       // its content
}

// TestKillUnderWrites kills the process at random moments while clients write in every way, and overwrite what they have
// written. After each restart every object is one of those that it may be, whole, and clients go on with what they
// have begun. In the end nothing of any upload is left.
func TestKillUnderWrites(t *testing.T) {
	kinds := map[string]string{"local": "cache", "minio": "bypass"}
	if full() {
		kinds["versitygw"] = "cache"
	}
	for kind, write := range kinds {
		t.Run(kind, func(t *testing.T) {
			seed := seedOf(t, rand.Uint64())
			r := rand.New(rand.NewPCG(seed, 2))
			v := newVictim(t, kind, write)
			writers := make([]*writer, 4)
			for i := range writers {
				writers[i] = &writer{v: v, key: fmt.Sprintf("w/%d", i), r: rand.New(rand.NewPCG(seed, uint64(i+10)))}
				v.keys = append(v.keys, writers[i].key)
			}
			var writes, resumed atomic.Int64
			kills := count(8, 100)
			for i := range kills {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				var load sync.WaitGroup
				for _, w := range writers {
					load.Go(func() {
						for w.step(ctx, &writes, &resumed) {
						}
					})
				}
				time.Sleep(time.Duration(100+r.IntN(1500)) * time.Millisecond) // the moment is what is random here
				v.g.stop(syscall.SIGKILL)
				load.Wait()
				cancel()
				v.g.start()
				for _, w := range writers {
					if err := w.look(); err != nil {
						t.Fatalf("after kill %d: %s: %v\n%s", i, w.key, err, tailOf(v.g.log.String(), 3000))
					}
				}
			}
			v.g.awaitAgreement(10 * time.Second)
			t.Logf("%d kills, %d writes answered, %d uploads taken up again; known before the sweep: %d", kills, writes.Load(), resumed.Load(), len(v.listed("")))
			if writes.Load() == 0 {
				t.Error("no write was answered")
			}
			v.expire()
			for _, w := range writers {
				if err := w.look(); err != nil {
					t.Errorf("after all: %s: %v", w.key, err)
				}
			}
		})
	}
}

// step does one write. It reports whether it was answered.
func (w *writer) step(ctx context.Context, writes, resumed *atomic.Int64) bool {
	if w.left != nil && w.r.IntN(3) > 0 {
		if !w.resume(ctx) {
			return false
		}
		resumed.Add(1)
		return true
	}
	w.left = nil
	next := content{w.r.Uint64(), 100_000 + w.r.Int64N(11<<20)}
	w.may = append(w.may, next)
	var err error
	switch w.r.IntN(3) {
	case 0:
		_, err = w.v.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("kill"), Key: &w.key, Body: bytes.NewReader(next.bytes())})
	case 1:
		next.size += gatewayPart
		w.may[len(w.may)-1] = next
		_, err = w.v.g.put(ctx, w.v.c, "/kill/"+w.key, next.reader(), -1)
	default:
		var up clientUpload
		if up, err = w.v.upload(ctx, w.key, next); err != nil && up.id != "" {
			w.left, w.what = &up, next
		}
	}
	if err != nil {
		return false
	}
	writes.Add(1)
	w.may, w.ever = []content{next}, true
	return true
}

// resume sends the parts that are missing of an upload that was cut off, and completes it.
func (w *writer) resume(ctx context.Context) bool {
	up := w.left
	for n := int32(len(up.parts) + 1); int64(n-1)*clientPart < w.what.size; n++ {
		if err := w.v.part(ctx, w.key, up, w.what, n); err != nil {
			return w.gone(err)
		}
	}
	if _, err := w.v.complete(ctx, w.key, *up); err != nil {
		return w.gone(err)
	}
	w.left, w.may, w.ever = nil, []content{w.what}, true
	return true
}

// gone gives up an upload that is not there: its Complete was cut off and has happened nevertheless, and something else was
// written since. It reports whether the gateway lives.
func (w *writer) gone(err error) bool {
	if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "NoSuchUpload" {
		return false
	}
	w.left = nil
	return true
}

// look reads the object, which must be one of those that it may be.
func (w *writer) look() error {
	var last error
	for _, what := range w.may {
		_, err := w.v.g.check(w.v.t.Context(), w.v.c, "/kill/"+w.key, what)
		if err == nil || errors.Is(err, errNoObject) && !w.ever {
			return nil
		}
		last = err
	}
	if len(w.may) == 0 {
		return nil
	}
	return fmt.Errorf("none of the %d contents that it may have: %w", len(w.may), last)
}
