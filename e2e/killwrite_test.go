//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// strike is a write during which the process is killed at a point.
type strike struct {
	write string // single, create (single with If-None-Match), put (cut into parts by the gateway), client (its own parts)
	point string
	skip  int // times that the point is passed before
	// committed: the object is the new one afterwards; else it is the old one, or none.
	committed bool
	// known: the client has got the upload's id.
	known bool
}

func (s strike) String() string { return fmt.Sprintf("%s at %s+%d", s.write, s.point, s.skip) }

// strikes are those of every upstream; localStrikes are points of the local driver.
var (
	strikes = []strike{
		{write: "single", point: "put.begin"},
		{write: "single", point: "put.stored", committed: true},
		{write: "put", point: "upload.intent"},
		{write: "put", point: "upload.unnamed"},
		{write: "put", point: "upload.created"},
		{write: "put", point: "upload.part"},
		{write: "put", point: "upload.part", skip: 2},
		{write: "put", point: "upload.complete"},
		{write: "put", point: "upload.completed", committed: true},
		{write: "client", point: "client-upload.intent"},
		{write: "client", point: "client-upload.unnamed"},
		{write: "client", point: "client-upload.created"},
		{write: "client", point: "client-upload.part", known: true},
		{write: "client", point: "client-upload.part", skip: 2, known: true},
		{write: "client", point: "client-upload.complete", known: true},
		{write: "client", point: "client-upload.completed", known: true, committed: true},
		{write: "client", point: "client-upload.recorded", known: true, committed: true},
	}
	localStrikes = []strike{
		{write: "single", point: "local.staged"},
		{write: "single", point: "local.placed", committed: true},
		{write: "create", point: "local.staged"},
		{write: "create", point: "local.linked", committed: true},
		{write: "put", point: "local.upload"},
		{write: "put", point: "local.part", skip: 1},
		{write: "put", point: "local.staged"},
		{write: "put", point: "local.placed", committed: true},
		{write: "put", point: "local.completed", committed: true},
		{write: "client", point: "local.upload"},
		{write: "client", point: "local.part", known: true},
		{write: "client", point: "local.staged", known: true},
		{write: "client", point: "local.completed", known: true, committed: true},
	}
)

// victim is a gateway that is killed again and again in front of one upstream.
type victim struct {
	t      *testing.T
	g      *gatewayProcess
	c      *http.Client
	s3     *s3.Client
	direct *s3.Client // of the upstream; nil: local, hdfs
	root   string     // of the local upstream
	hdfs   string     // root of the HDFS upstream
	keys   []string
	now    map[string]content // what the objects hold
}

// TestKillInEveryWrite kills the process at every step of single PUTs, of PUTs that the gateway cuts into parts, and of
// clients' uploads. After each restart the object is the old one or the new one, as a read, a range and a listing agree
// although the old version was cached and objects are promised not to change; the client's upload is listed and goes on, or is
// completed once more with the same answer. At last, when the age limit has come, nothing of any upload is left.
func TestKillInEveryWrite(t *testing.T) {
	for name, write := range map[string]string{"local": "bypass", "local, cached": "cache", "versitygw": "bypass", "minio": "cache", "hdfs": "bypass"} {
		kind, _, _ := strings.Cut(name, ",")
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, kind, write)
			list := slices.Clone(strikes)
			if kind == "local" {
				list = append(list, localStrikes...)
			}
			r := rand.New(rand.NewPCG(seedOf(t, rand.Uint64()), 1))
			for range count(1, 4) {
				r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
				for _, s := range list {
					v.strike(s)
				}
			}
			v.sweepUp()
		})
	}
}

// newVictim runs a gateway in front of a kind of upstream, with what its route does with writes.
func newVictim(t *testing.T, kind, write string) *victim {
	t.Helper()
	v := &victim{t: t, c: rawClient(4), now: map[string]content{}}
	var upstreams string
	switch kind {
	case "local":
		dir := t.TempDir()
		v.root = filepath.Join(dir, "objects")
		upstreams = upstreamYAML(t, kind, dir)
	case "hdfs":
		upstreams, v.hdfs = hdfsUpstream(t)
	default:
		srv := startUpstream(t, kind)
		upstreams = s3YAML(srv.Endpoint, srv.AccessKey, srv.SecretKey)
		v.direct = clientOf(srv.Endpoint, srv.AccessKey, srv.SecretKey)
	}
	v.g = startWith(t, setup{upstreams: upstreams, freshness: "immutable", write: write, extra: "uploads: {max_age: 1h}\n"})
	v.s3 = v.g.client()
	t.Cleanup(v.c.CloseIdleConnections)
	createBucket(t, v.s3, "kill")
	return v
}

// strike writes a key until the process is gone, and looks at what is left.
func (v *victim) strike(s strike) {
	v.t.Helper()
	key := fmt.Sprintf("%s/%04d", strings.ReplaceAll(s.point, ".", "-"), len(v.keys))
	v.keys = append(v.keys, key)
	seed := uint64(len(v.keys))
	if s.write != "create" {
		v.now[key] = content{seed, 300_000}
		put(v.t, v.s3, "kill", key, v.now[key].bytes())
		v.look(s, key) // so that it is cached
	}
	next := content{seed + 1_000_000, 10<<20 + 12345}
	if s.write == "put" {
		next.size = 2*gatewayPart + 12345
	}
	v.g.fault("process.kill", "operation="+s.point, fmt.Sprintf("skip=%d", s.skip), "match=kill/"+key)
	up := v.write(s, key, next)
	v.fell(s)
	v.g.start()
	if s.committed {
		v.now[key] = next
	}
	v.look(s, key)
	switch {
	case s.write == "put":
		v.settles(s, key)
	case s.write == "client" && s.known:
		v.goesOn(s, key, up, next)
	}
	v.g.awaitAgreement(10 * time.Second)
}

// fell waits for the end of the process, which must have been the fault's doing.
func (v *victim) fell(s strike) {
	v.t.Helper()
	select {
	case err := <-v.g.ended:
		v.g.ended <- err
		if status, ok := v.g.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			v.t.Fatalf("%v: the process ended with %v", s, err)
		}
	case <-time.After(30 * time.Second):
		v.t.Fatalf("%v: the point was not reached", s)
	}
	v.g.cmd = nil
}

// clientUpload is what a client knows of its upload.
type clientUpload struct {
	id    string
	parts []types.CompletedPart
}

// write writes key, as far as the process lets it.
func (v *victim) write(s strike, key string, what content) clientUpload {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	var up clientUpload
	var err error
	switch s.write {
	case "single", "create":
		in := &s3.PutObjectInput{Bucket: aws.String("kill"), Key: &key, Body: bytes.NewReader(what.bytes())}
		if s.write == "create" {
			in.IfNoneMatch = aws.String("*")
		}
		_, err = v.s3.PutObject(ctx, in)
	case "put":
		_, err = v.g.put(ctx, v.c, "/kill/"+key, what.reader(), -1)
	case "client":
		up, err = v.upload(ctx, key, what)
	}
	if err == nil {
		v.t.Fatalf("%v: the client got an answer", s)
	}
	if s.known != (up.id != "") {
		v.t.Fatalf("%v: the client has the id %q", s, up.id)
	}
	return up
}

// parts are the pieces of a client's upload.
const clientPart = 5 << 20

func (v *victim) upload(ctx context.Context, key string, what content) (up clientUpload, err error) {
	begun, err := v.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String("kill"), Key: &key})
	if err != nil {
		return up, err
	}
	up.id = *begun.UploadId
	for n := int32(1); int64(n-1)*clientPart < what.size; n++ {
		if err := v.part(ctx, key, &up, what, n); err != nil {
			return up, err
		}
	}
	_, err = v.complete(ctx, key, up)
	return up, err
}

func (v *victim) part(ctx context.Context, key string, up *clientUpload, what content, n int32) error {
	data := make([]byte, min(clientPart, what.size-int64(n-1)*clientPart))
	what.fill(data, int64(n-1)*clientPart)
	out, err := v.s3.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: aws.String("kill"), Key: &key, UploadId: &up.id, PartNumber: &n, Body: bytes.NewReader(data),
	})
	if err != nil {
		return err
	}
	up.parts = append(up.parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: out.ETag})
	return nil
}

func (v *victim) complete(ctx context.Context, key string, up clientUpload) (etag string, err error) {
	out, err := v.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: aws.String("kill"), Key: &key, UploadId: &up.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: up.parts},
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

// look reads an object whole, in part and in a listing: all must say that it is what it should be.
func (v *victim) look(s strike, key string) {
	v.t.Helper()
	want, exists := v.now[key]
	etag, err := v.g.check(v.t.Context(), v.c, "/kill/"+key, want)
	if exists && err != nil || !exists && !errors.Is(err, errNoObject) {
		v.t.Fatalf("%v: the object, which should be there (%v): %v\n%s", s, exists, err, tailOf(v.g.log.String(), 3000))
	}
	page, err := v.s3.ListObjectsV2(v.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("kill"), Prefix: &key})
	if err != nil {
		v.t.Fatal(err)
	}
	if !exists {
		if len(page.Contents) != 0 {
			v.t.Fatalf("%v: an object that is not there is listed", s)
		}
		return
	}
	if len(page.Contents) != 1 || aws.ToInt64(page.Contents[0].Size) != want.size || aws.ToString(page.Contents[0].ETag) != etag {
		v.t.Fatalf("%v: listed as %+v, read with ETag %s and %d bytes", s, page.Contents, etag, want.size)
	}
	part, err := get(v.t, v.s3, "kill", key, "bytes=100000-100099")
	wantPart := make([]byte, 100)
	want.fill(wantPart, 100_000)
	if err != nil || !bytes.Equal(part, wantPart) {
		v.t.Fatalf("%v: a range is wrong: %v", s, err)
	}
}

// listed returns the unfinished uploads that the gateway knows, as KIND STATE, of a key, or of all keys when it is empty.
func (v *victim) listed(key string) []string {
	v.t.Helper()
	var answer struct {
		Uploads []struct{ Kind, State, Bucket, Key string }
	}
	text := v.g.operate("uploads", "list", "--json")
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		v.t.Fatalf("%v: %s", err, text)
	}
	var all []string
	for _, u := range answer.Uploads {
		if key == "" || u.Key == key && u.Bucket == "kill" {
			all = append(all, u.Kind+" "+u.State)
		}
	}
	return all
}

// settles waits until nothing is left of the upload of a PUT but what only its age can settle: an intent, and what the
// store may be completing still. What is aborted is remembered until it has been aborted once more.
func (v *victim) settles(s strike, key string) {
	v.t.Helper()
	known, there := []string{"[put abandoned]", "[]"}, 0
	switch s.point {
	case "upload.intent":
		known = []string{"[put intent]"}
	case "upload.unnamed", "local.upload":
		known, there = []string{"[put intent]"}, 1
	case "upload.complete", "local.staged", "local.placed", "local.completed":
		known, there = []string{"[put abandoned]"}, 1
	case "upload.completed":
		known = []string{"[]"}
	}
	eventually(v.t, 10*time.Second, func() string {
		page, err := v.s3.ListMultipartUploads(v.t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("kill"), Prefix: &key})
		if err != nil {
			return err.Error()
		}
		if got := fmt.Sprint(v.listed(key)); !slices.Contains(known, got) || len(page.Uploads) != there {
			return fmt.Sprintf("%v: uploads %s, want one of %s; %d at the upstream, want %d", s, got, known, len(page.Uploads), there)
		}
		return ""
	})
}

// goesOn is the client that comes back: its upload is listed, takes the parts that are missing, and is completed; or it
// was completed, and is so once more.
func (v *victim) goesOn(s strike, key string, up clientUpload, what content) {
	v.t.Helper()
	ctx := v.t.Context()
	if got := v.listed(key); len(got) > 1 || len(got) == 0 && s.point != "client-upload.recorded" {
		v.t.Fatalf("%v: uploads %q", s, got)
	}
	for n := int32(len(up.parts) + 1); int64(n-1)*clientPart < what.size; n++ {
		if err := v.part(ctx, key, &up, what, n); err != nil {
			v.t.Fatalf("%v: part %d after the restart: %v", s, n, err)
		}
	}
	first, err := v.complete(ctx, key, up)
	if err != nil {
		v.t.Fatalf("%v: Complete after the restart: %v\n%s", s, err, tailOf(v.g.log.String(), 3000))
	}
	if again, err := v.complete(ctx, key, up); err != nil || again != first {
		v.t.Fatalf("%v: Complete once more: %q, %v; before %q", s, again, err, first)
	}
	v.now[key] = what
	v.look(s, key)
	if got := v.listed(key); len(got) != 0 {
		v.t.Fatalf("%v: uploads %q after it was completed", s, got)
	}
}

// sweepUp lets the age limit come, with a crash in the midst of the sweeping, and looks for what is left.
func (v *victim) sweepUp() {
	v.t.Helper()
	v.t.Logf("%d kills; before the sweep: %q", len(v.keys), v.listed(""))
	v.g.stop(syscall.SIGTERM)
	v.configure("max_age: 1h", "max_age: 1s")
	text, err := os.ReadFile(v.g.config)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, point := range []string{"sweep.abort", "sweep.aborted"} {
		if err := os.WriteFile(v.g.config, fmt.Appendf(nil, "%sfaults: [{name: process.kill, operation: %s, skip: 1}]\n", text, point), 0o600); err != nil {
			v.t.Fatal(err)
		}
		v.g.launch()
		v.fell(strike{write: "sweep", point: point})
	}
	if err := os.WriteFile(v.g.config, text, 0o600); err != nil {
		v.t.Fatal(err)
	}
	v.g.start()
	v.nothingLeft()
	for _, key := range v.keys {
		v.look(strike{write: "after all"}, key)
	}
	v.g.operate("cache", "verify")
	if n := v.g.metric("unistore_upload_journal_errors_total"); n != 0 {
		v.t.Errorf("%v records of uploads could not be written", n)
	}
	v.t.Logf("swept by the last process: %v aborted, %v expired, %v resolved, %v settled, %v stray",
		v.g.metric("unistore_uploads_swept_total", `"aborted"`), v.g.metric("unistore_uploads_swept_total", `"expired"`),
		v.g.metric("unistore_uploads_swept_total", `"resolved"`), v.g.metric("unistore_uploads_swept_total", `"settled"`),
		v.g.metric("unistore_uploads_swept_total", `"stray"`))
}

// expire lets the age limit come.
func (v *victim) expire() {
	v.t.Helper()
	v.g.stop(syscall.SIGTERM)
	v.configure("max_age: 1h", "max_age: 1s")
	v.g.start()
	v.nothingLeft()
}

// nothingLeft waits until neither the gateway nor the upstream knows of an unfinished upload.
func (v *victim) nothingLeft() {
	v.t.Helper()
	eventually(v.t, 30*time.Second, func() string {
		if got := v.listed(""); len(got) > 0 {
			return fmt.Sprintf("uploads %q", got)
		}
		return ""
	})
	eventually(v.t, 30*time.Second, v.leftOver)
}

func (v *victim) configure(was, is string) {
	v.t.Helper()
	text, err := os.ReadFile(v.g.config)
	if err != nil || !strings.Contains(string(text), was) {
		v.t.Fatalf("%v, %s", err, text)
	}
	if err := os.WriteFile(v.g.config, []byte(strings.ReplaceAll(string(text), was, is)), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

// leftOver says what there still is of uploads at the upstream.
func (v *victim) leftOver() string {
	if v.hdfs != "" {
		return v.leftInHDFS()
	}
	if v.direct == nil {
		return v.leftOnDisk()
	}
	for _, key := range v.keys { // MinIO lists uploads of one key only
		page, err := v.direct.ListMultipartUploads(v.t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("kill"), Prefix: &key})
		if err != nil || len(page.Uploads) > 0 {
			return fmt.Sprintf("%s: %d uploads at the upstream, %v", key, len(page.Uploads), err)
		}
	}
	return ""
}

// leftInHDFS asks the NameNode what there is of uploads.
func (v *victim) leftInHDFS() string {
	left, err := sharedHadoop(v.t).List(v.t.Context(), v.hdfs+"/.unistore/uploads/kill")
	if err != nil || len(left) > 0 {
		return fmt.Sprintf("left in HDFS: %q, %v", left, err)
	}
	return ""
}

// leftOnDisk looks into the hidden area of the local upstream: the lock of the process that runs is all that it
// may hold.
func (v *victim) leftOnDisk() string {
	var left []string
	err := filepath.WalkDir(filepath.Join(v.root, ".unistore"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "lock" {
			left = append(left, path)
		}
		return nil // what goes meanwhile is not left
	})
	locks, _ := filepath.Glob(filepath.Join(v.root, ".unistore/tmp/*/lock"))
	if err != nil || len(left) > 0 || len(locks) != 1 {
		return fmt.Sprintf("left on disk: %v, %d processes, %v", left, len(locks), err)
	}
	return ""
}
