package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
	"unistore/metrics"
	"unistore/s3api"
)

// Temporary credentials see their own query and change nothing, whoever had them made: the operator, or an access key that
// may write.
func TestTemporaryCredentialsOnlyLook(t *testing.T) {
	g := startQueries(t, 1, nil)
	g.register("AKTEST", `{"id": "theirs", "ttl": 600}`)
	status, text := g.operator("POST", "queries", `{"id": "ops", "ttl": 600, "credentials": true}`)
	byOperator := decodeJSON[acceptedState](t, status-http.StatusAccepted+http.StatusOK, text).Credentials
	g.operator("POST", "queries", `{"id": "ops2", "ttl": 600}`)
	byKey := g.register("AKTEST", `{"id": "own", "ttl": 600, "credentials": true}`).Credentials
	tests := []struct {
		own   string
		creds *credentialForm
	}{{"ops", byOperator}, {"own", byKey}}
	for _, test := range tests {
		creds := aws.Credentials{
			AccessKeyID: test.creds.AccessKey, SecretAccessKey: test.creds.SecretKey, SessionToken: test.creds.SessionToken,
		}
		if err := g.getAs(test.creds, "team-q", "d/k00"); err != nil {
			t.Error(err)
		}
		calls := []struct {
			method, path, body string
			status             int
		}{
			{"GET", "queries/" + test.own, "", 200},
			{"POST", "residency", `{"files": [{"bucket": "team-q", "key": "d/k00"}]}`, 200},
			{"GET", "queries/theirs", "", 403},
			{"GET", "queries/ops2", "", 403},
			{"DELETE", "queries/theirs", "", 403},
			{"DELETE", "queries/ops2", "", 403},
			{"DELETE", "queries/" + test.own, "", 403},
			{"POST", "queries/" + test.own + "/renew", `{"ttl": "24h"}`, 403},
			{"POST", "queries/" + test.own + "/files", `{}`, 403},
			{"POST", "queries", `{"id": "another"}`, 403},
			{"POST", "invalidate", `{"all": true}`, 403},
			{"POST", "uploads/abort", `{"older_than": "0s"}`, 403},
		}
		for _, c := range calls {
			if status, text, _ := g.callControlAs(creds, c.method, c.path, c.body, nil); status != c.status {
				t.Errorf("%s: %s %s: %d %s; want %d", test.own, c.method, c.path, status, text, c.status)
			}
		}
		_, text, _ := g.callControlAs(creds, "GET", "queries", "", nil)
		var list struct{ Queries []queryStatus }
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Queries) != 1 || list.Queries[0].ID != test.own {
			t.Errorf("%s sees %s", test.own, text)
		}
	}
}

// A key that goes between the check of its signature and the look at its rights has none.
func TestIdentifyKeyThatIsGone(t *testing.T) {
	k := newKeyring(controlKeys[:1])
	if who, err := k.identify(&s3api.Auth{AccessKey: "AKTEST"}); err != nil || who.operator || who.accessKey != "AKTEST" {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err := k.identify(&s3api.Auth{Anonymous: true}); err != nil || who.operator {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err := k.identify(&s3api.Auth{AccessKey: "UQGONE"}); err == nil || who.mayUse("b") {
		t.Errorf("%+v, %v", who, err)
	}
}

// The headers of temporary credentials name no query but their own, renew none and release none.
func TestPinHeadersOfTemporaryCredentials(t *testing.T) {
	s := &service{metrics: metrics.New(prometheus.NewRegistry())}
	who := identity{accessKey: "AK", query: "own"}
	tests := []struct{ have, want pinHeaders }{
		{pinHeaders{query: "own", kind: cache.PinHard}, pinHeaders{query: "own", kind: cache.PinHard}},
		{pinHeaders{query: "other", queryTTL: 5, kind: cache.PinHard}, pinHeaders{kind: cache.PinHard}},
		{pinHeaders{query: "own", queryTTL: 5}, pinHeaders{}},
		{pinHeaders{unpin: "own"}, pinHeaders{}},
		{pinHeaders{unpin: "other", pinTTL: 5}, pinHeaders{pinTTL: 5}},
	}
	for _, test := range tests {
		h := test.have
		s.restrictPins(&h, who)
		if h != test.want {
			t.Errorf("%+v becomes %+v", test.have, h)
		}
	}
}

// A call has a bounded number of files, and names a bounded number of refusals.
func TestRegistrationOfTooManyFiles(t *testing.T) {
	g := startQueries(t, 0, nil)
	files := func(n int) string {
		return `{"files": [` + strings.TrimSuffix(strings.Repeat(`{"bucket": "other", "key": "k"},`, n), ",") + `]}`
	}
	a := g.register("AKTEAM", files(1001))
	if a.Rejections != 1001 || len(a.Rejected) != 1000 {
		t.Errorf("%d refused, %d named", a.Rejections, len(a.Rejected))
	}
	status, text, _ := g.callControl("POST", "queries", files(10_001), "AKTEAM", nil)
	if status != http.StatusBadRequest || !strings.Contains(text, "at most 10000") {
		t.Errorf("%d %.200s", status, text)
	}
}

// A release whose record can not be removed is no release: 503, and the next one does it.
func TestReleaseThatIsNotRecorded(t *testing.T) {
	g := startQueries(t, 1, func(c *config.Config) { c.EnableFaults = true })
	g.register("AKTEST", `{"id": "q", "ttl": 600, "files": [{"bucket": "team-q", "key": "d/k00"}]}`)
	g.awaitState("AKTEST", "q", "ready")
	if err := g.faults.Put(faults.Fault{Name: faults.MetaError, Operation: "apply", Error: "ENOSPC"}); err != nil {
		t.Fatal(err)
	}
	status, text, _ := g.callControl(http.MethodDelete, "queries/q", "", "AKTEST", nil)
	if status != http.StatusServiceUnavailable || !strings.Contains(text, "ServiceUnavailable") {
		t.Errorf("%d %s", status, text)
	}
	if s := g.queryState("AKTEST", "q"); s.State != "ending" {
		t.Errorf("%+v", s)
	}
	g.faults.Clear()
	status, text, _ = g.callControl(http.MethodDelete, "queries/q", "", "AKTEST", nil)
	if s := decodeJSON[queryStatus](t, status, text); s.State != "released" {
		t.Errorf("%+v", s)
	}
}
