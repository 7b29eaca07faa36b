package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/config"
)

// startQueries is a gateway that fetches ahead, with the keys of the control tests and objects of 1 MiB.
func startQueries(t *testing.T, objects int, change func(*config.Config)) *testGateway {
	t.Helper()
	g := startAhead(t, func(c *config.Config) {
		c.Credentials = controlKeys
		if change != nil {
			change(c)
		}
	})
	for i := range objects {
		g.bucketWith("team-q", fmt.Sprintf("d/k%02d", i), 1<<20)
	}
	return g
}

// register posts a query and returns the answer, which must be 202.
func (g *testGateway) register(key, body string) acceptedState {
	g.t.Helper()
	status, text, _ := g.callControl(http.MethodPost, "queries", body, key, nil)
	if status != http.StatusAccepted {
		g.t.Fatalf("%d %s", status, text)
	}
	return decodeJSON[acceptedState](g.t, http.StatusOK, text)
}

func (g *testGateway) queryState(key, id string) queryStatus {
	g.t.Helper()
	status, text, _ := g.callControl(http.MethodGet, "queries/"+id, "", key, nil)
	return decodeJSON[queryStatus](g.t, status, text)
}

func (g *testGateway) awaitState(key, id, state string) queryStatus {
	g.t.Helper()
	var s queryStatus
	g.eventually("query "+id+" is "+state, func() bool {
		s = g.queryState(key, id)
		return s.State == state
	})
	return s
}

func TestRegisteredQueryIsWarm(t *testing.T) {
	g := startQueries(t, 6, nil)
	a := g.register("AKTEST", `{"id": "q1", "ttl": 600, "pin": "hard", "files": [
		{"bucket": "team-q", "prefix": "d/"},
		{"bucket": "team-q", "key": "d/k00", "ranges": ["0-9", "5-99", "-10"]},
		{"bucket": "team-q", "key": "none"},
		{"bucket": "nobody", "key": "k"},
		{"bucket": "team-q", "key": "d/k01", "etag": "\"other\""},
		{"bucket": "team-q", "key": "d/k01", "ranges": ["1048576-"]},
		{"bucket": "team-q", "prefix": "nothing/"}]}`)
	if a.ID != "q1" || a.Accepted.Files != 7 || a.Accepted.Bytes != 6<<20+110 {
		t.Errorf("%+v", a)
	}
	reasons := []string{}
	for _, r := range a.Rejected {
		reasons = append(reasons, r.File.Key+": "+r.Reason)
	}
	want := []string{
		"none: there is no such object", "k: there is no such bucket", "d/k01: the object has another version",
		"d/k01: no byte of the ranges is in the object", "nothing/: there is nothing below the prefix",
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("rejected %q", reasons)
	}
	s := g.awaitState("AKTEST", "q1", "ready")
	if s.Total != 6<<20+110 || s.Resident != s.Total || s.Errors != 0 || s.Inflight != 0 || s.Files != 7 || s.Pinned != 6<<20 {
		t.Errorf("%+v", s)
	}
	if got := g.outcome("registered"); got != 6<<20 {
		t.Errorf("%d bytes fetched", got)
	}
	for i := range 6 {
		if got := g.getWith("team-q", fmt.Sprintf("d/k%02d", i), "bytes=0-"); !strings.HasPrefix(got, "unistore; hit; detail=p") {
			t.Errorf("object %d: %s", i, got)
		}
	}
	if got := g.outcome("demand"); got != 0 {
		t.Errorf("%d bytes by demand", got)
	}
	status, text, _ := g.callControl(http.MethodDelete, "queries/q1", "", "AKTEST", nil)
	if s := decodeJSON[queryStatus](t, status, text); s.State != "released" || s.Pinned != 0 {
		t.Errorf("%+v", s)
	}
	if p := g.cache.Pins(); len(p) != 0 {
		t.Errorf("pins stay: %+v", p)
	}
}

func TestQueryAnswers(t *testing.T) {
	g := startQueries(t, 1, nil)
	file := `"files": [{"bucket": "team-q", "key": "d/k00"}]`
	g.register("AKTEST", `{"id": "gone", `+file+`}`)
	g.callControl(http.MethodDelete, "queries/gone", "", "AKTEST", nil)
	g.register("AKTEST", `{"id": "q", `+file+`}`)
	g.register("AKTEAM", `{"id": "q", `+file+`}`)
	g.register("AKREAD", `{"id": "a/b:c=d"}`)
	tests := []struct {
		method, path, body, key string
		status                  int
		text                    string
	}{
		{"POST", "queries", `{"id": "q", ` + file + `}`, "AKTEST", 409, "QueryAlreadyExists"},
		{"POST", "queries", `{"id": "a b"}`, "AKTEST", 400, "InvalidRequest"},
		{"POST", "queries", ``, "AKTEST", 400, "empty"},
		{"POST", "queries", `{"files": 5}`, "AKTEST", 400, "InvalidRequest"},
		{"POST", "queries", `{"surprise": 5}`, "AKTEST", 400, "surprise"},
		{"POST", "queries", `{"pin": "firm"}`, "AKTEST", 400, "hard, soft or none"},
		{"POST", "queries", `{"priority": "first"}`, "AKTEST", 400, "urgent"},
		{"POST", "queries", `{"ttl": -1}`, "AKTEST", 400, "ttl"},
		{"POST", "queries", `{"ttl": "soon"}`, "AKTEST", 400, "ttl"},
		{"POST", "queries", `{"deadline": 0}`, "AKTEST", 400, "deadline"},
		{"POST", "queries", `{"deadline": "tomorrow"}`, "AKTEST", 400, "deadline"},
		{"POST", "queries", `{"files": [{"bucket": "team-q"}]}`, "AKTEST", 400, "either key or prefix"},
		{"POST", "queries", `{"files": [{"key": "k"}]}`, "AKTEST", 400, "no bucket"},
		{"POST", "queries", `{"files": [{"bucket": "team-q", "key": "k", "ranges": ["9-1"]}]}`, "AKTEST", 400, "is no range"},
		{"POST", "queries", `{"files": [{"bucket": "team-q", "prefix": "k", "ranges": ["1-9"]}]}`, "AKTEST", 400, "without etag and ranges"},
		{"POST", "queries", strings.Repeat(" ", controlBody+1), "AKTEST", 413, "RequestEntityTooLarge"},
		{"POST", "queries/q/files", `{` + file + `}`, "AKTEST", 202, `"files":1`},
		{"POST", "queries/q/files", `{}`, "AKTEST", 202, `"files":0`},
		{"POST", "queries/gone/files", `{` + file + `}`, "AKTEST", 410, "QueryEnded"},
		{"POST", "queries/gone/renew", ``, "AKTEST", 410, "QueryEnded"},
		{"GET", "queries/gone", ``, "AKTEST", 200, `"released"`},
		{"DELETE", "queries/gone", ``, "AKTEST", 200, `"released"`},
		{"DELETE", "queries/never", ``, "AKTEST", 404, "NoSuchQuery"},
		{"GET", "queries/never", ``, "AKTEST", 404, "NoSuchQuery"},
		{"POST", "queries/never/files", `{}`, "AKTEST", 404, "NoSuchQuery"},
		{"POST", "queries/q/renew", `{"ttl": "1h"}`, "AKTEST", 200, `"expires_at"`},
		{"POST", "queries/q/other", `{}`, "AKTEST", 404, "NotFound"},
		{"PUT", "queries/q", `{}`, "AKTEST", 405, "MethodNotAllowed"},
		{"GET", "queries/", ``, "AKTEST", 400, "names no query"},
		{"GET", "queries/q?x=1", ``, "AKTEST", 400, "unknown parameter"},
		{"GET", "queries/a%2Fb:c=d", ``, "AKREAD", 200, `"id":"a/b:c=d"`},
		{"GET", "queries/a%2Fb:c=d", ``, "AKTEST", 404, "NoSuchQuery"},
		{"POST", "queries", `{"id": "gone", ` + file + `}`, "AKTEST", 202, `"files":1`}, // after its release
		{"POST", "queries", `{"id": "denied", "files": [{"bucket": "other", "key": "k"}]}`, "AKTEAM", 202, "no right to this bucket"},
	}
	for _, test := range tests {
		status, text, _ := g.callControl(test.method, test.path, test.body, test.key, nil)
		if status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%s %s %.80s: %d %.300s; want %d and %q", test.method, test.path, test.body, status, text, test.status, test.text)
		}
	}
	// The operator sees all, and must be told which when two keys have one of a name.
	if status, text := g.operator("GET", "queries", ""); status != 200 || strings.Count(text, `"state"`) != 5 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := g.operator("GET", "queries/q", ""); status != 409 || !strings.Contains(text, "AmbiguousQuery") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := g.operator("DELETE", "queries/denied", ""); status != 200 || !strings.Contains(text, `"released"`) {
		t.Errorf("%d %s", status, text)
	}
}

// Two queries of one key: progress and pins are apart; releasing one leaves the other.
func TestTwoQueriesOfOneKey(t *testing.T) {
	g := startQueries(t, 4, nil)
	g.register("AKTEST", `{"id": "one", "pin": "hard", "files": [{"bucket": "team-q", "key": "d/k00"}, {"bucket": "team-q", "key": "d/k01"}]}`)
	g.register("AKTEST", `{"id": "two", "pin": "soft", "files": [{"bucket": "team-q", "key": "d/k01"}, {"bucket": "team-q", "key": "d/k02"}, {"bucket": "team-q", "key": "d/k03"}]}`)
	one, two := g.awaitState("AKTEST", "one", "ready"), g.awaitState("AKTEST", "two", "ready")
	if one.Pinned != 2<<20 || two.Pinned != 3<<20 || one.Total != 2<<20 || two.Total != 3<<20 {
		t.Errorf("%+v, %+v", one, two)
	}
	g.callControl(http.MethodDelete, "queries/one", "", "AKTEST", nil)
	if two := g.queryState("AKTEST", "two"); two.Pinned != 3<<20 || two.State != "ready" {
		t.Errorf("%+v", two)
	}
	if p := g.cache.Pins(); len(p) != 1 || p[0].HardBytes != 0 {
		t.Errorf("%+v", p)
	}
}

// A client that has crashed frees all within the TTL.
func TestQueryExpires(t *testing.T) {
	g := startQueries(t, 1, nil)
	a := g.register("AKTEST", `{"id": "q", "ttl": 60, "pin": "hard", "credentials": true, "files": [{"bucket": "team-q", "key": "d/k00"}]}`)
	g.awaitState("AKTEST", "q", "ready")
	g.wait(59 * time.Second)
	if s := g.queryState("AKTEST", "q"); s.State != "ready" || s.Pinned == 0 {
		t.Errorf("%+v", s)
	}
	g.wait(2 * time.Second)
	if s := g.awaitState("AKTEST", "q", "expired"); s.Pinned != 0 {
		t.Errorf("%+v", s)
	}
	if p := g.cache.Pins(); len(p) != 0 {
		t.Errorf("%+v", p)
	}
	if err := g.getAs(a.Credentials, "team-q", "d/k00"); err == nil {
		t.Error("the credentials of a query that has expired are good")
	}
}

// getAs reads an object with temporary credentials.
func (g *testGateway) getAs(c *credentialForm, bucket, key string) error {
	o := g.client.Options()
	o.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)
	out, err := s3.New(o).GetObject(g.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err == nil {
		out.Body.Close()
	}
	return err
}

// Temporary credentials have the rights of the key that had them made, and name the query.
func TestTemporaryCredentials(t *testing.T) {
	g := startQueries(t, 1, nil)
	g.bucketWith("other", "k", 1000)
	a := g.register("AKTEAM", `{"id": "q", "ttl": 600, "credentials": true}`)
	if a.Credentials == nil || a.Credentials.Expiration.Before(time.Now()) {
		t.Fatalf("%+v", a)
	}
	if err := g.getAs(a.Credentials, "team-q", "d/k00"); err != nil {
		t.Error(err)
	}
	if err := g.getAs(a.Credentials, "other", "k"); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("another team's bucket: %v", err)
	}
	wrong := *a.Credentials
	wrong.SessionToken = "x"
	if err := g.getAs(&wrong, "team-q", "d/k00"); err == nil || !strings.Contains(err.Error(), "InvalidToken") {
		t.Errorf("another token: %v", err)
	}
	g.keys.replace(controlKeys[:1]) // the team's key is gone
	if err := g.getAs(a.Credentials, "team-q", "d/k00"); err == nil {
		t.Error("they outlive their key")
	}
	g.keys.replace(controlKeys)
	g.callControl(http.MethodDelete, "queries/q", "", "AKTEAM", nil)
	if err := g.getAs(a.Credentials, "team-q", "d/k00"); err == nil {
		t.Error("they outlive their query")
	}
}

// A restart keeps what is registered, credentials and pins too, and goes on warming.
func TestQueriesOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	start := func() *testGateway {
		return startGateway(t, dir, func(c *config.Config) {
			c.Credentials = controlKeys
			c.Prefetch = config.Prefetch{Enabled: true, Memory: 64 << 20, MaxInflight: 16, MaxWindow: 32 << 20}
		})
	}
	g := start()
	for i := range 3 {
		g.bucketWith("team-q", fmt.Sprintf("d/k%02d", i), 1<<20)
	}
	a := g.register("AKTEST", `{"id": "one", "ttl": 600, "pin": "hard", "credentials": true, "files": [{"bucket": "team-q", "key": "d/k00"}]}`)
	g.register("AKTEST", `{"id": "two", "ttl": 600, "deadline": 90, "pin": "soft", "files": [{"bucket": "team-q", "key": "d/k01", "ranges": ["0-99"]}]}`)
	g.callControl(http.MethodPost, "queries/two/files", `{"files": [{"bucket": "team-q", "key": "d/k02"}]}`, "AKTEST", nil)
	g.register("AKTEST", `{"id": "three", "files": [{"bucket": "team-q", "key": "d/k02"}]}`)
	g.callControl(http.MethodDelete, "queries/three", "", "AKTEST", nil)
	g.awaitState("AKTEST", "one", "ready")
	deadline := g.awaitState("AKTEST", "two", "ready").Deadline
	g.stop()

	g = start()
	one, two := g.awaitState("AKTEST", "one", "ready"), g.awaitState("AKTEST", "two", "ready")
	if one.Pinned != 1<<20 || one.Total != 1<<20 || two.Files != 2 || two.Total != 1<<20+100 || two.Resident != two.Total || two.Errors != 0 {
		t.Errorf("%+v, %+v", one, two)
	}
	if !one.Deadline.IsZero() || deadline.IsZero() || !two.Deadline.Equal(deadline.Truncate(time.Millisecond)) {
		t.Errorf("deadlines %v and %v, want none and %v", one.Deadline, two.Deadline, deadline)
	}
	if status, text, _ := g.callControl(http.MethodGet, "queries/three", "", "AKTEST", nil); status != http.StatusNotFound {
		t.Errorf("%d %s", status, text)
	}
	if err := g.getAs(a.Credentials, "team-q", "d/k00"); err != nil {
		t.Error(err)
	}
	if got := g.outcome("registered"); got != 0 {
		t.Errorf("%d bytes were fetched again", got)
	}
}

// More than fits: what does is taken, the rest is refused by name.
func TestRegistrationOfMoreThanFits(t *testing.T) {
	g := startQueries(t, 8, func(c *config.Config) { c.Cache.Size = 8 << 20; c.Cache.PinLimit = 0.5 })
	a := g.register("AKTEST", `{"id": "q", "pin": "hard", "files": [{"bucket": "team-q", "prefix": ""}]}`)
	if a.Accepted.Files != 4 || len(a.Rejected) != 4 || !strings.Contains(a.Rejected[0].Reason, "does not fit") {
		t.Errorf("%+v", a)
	}
	g.awaitState("AKTEST", "q", "ready")
}

func TestQueriesWithoutPrefetch(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	if status, text := g.operator("GET", "queries", ""); status != 501 || !strings.Contains(text, "prefetch.enabled") {
		t.Errorf("%d %s", status, text)
	}
}

// A deadline is told; without one nothing is.
func TestQueryDeadline(t *testing.T) {
	g := startQueries(t, 1, nil)
	file := `"files": [{"bucket": "team-q", "key": "d/k00"}]`
	g.register("AKTEST", `{"id": "with", "deadline": "5m", `+file+`}`)
	g.register("AKTEST", `{"id": "without", `+file+`}`)
	g.awaitState("AKTEST", "with", "ready")
	deadline := g.queryState("AKTEST", "with").Deadline
	if left := time.Until(deadline); left <= 4*time.Minute || left > 5*time.Minute {
		t.Errorf("%v are left", left)
	}
	if _, text, _ := g.callControl(http.MethodGet, "queries/without", "", "AKTEST", nil); strings.Contains(text, "deadline") {
		t.Errorf("a query without one: %s", text)
	}
}
