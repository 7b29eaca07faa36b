//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/e2e/servers"
)

const (
	leavers      = 40              // clients of each case that go at once
	backAtRest   = 5 * time.Second // after the last of them has gone
	leftObject   = 16 << 20
	leftObjects  = 4        // of each case that reads
	declaredBody = 32 << 20 // 40 s at the pace of putHalf
)

// standing is what the process holds at a moment.
type standing struct {
	goroutines int // but for those of idle connections to the store
	fds        int // but for block files and idle connections to the store
	clients    int // connections of clients
	stuck      int // of these, with bytes that the client does not take
	busy       int // connections to the store in use; of HDFS, which keeps some, all
	idle       int // in net/http's pool
}

// standing looks at the stacks and the sockets of the process.
func (g *gatewayProcess) standing() standing {
	g.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	var s standing
	pooled, inCall, inBody, loops := 0, 0, 0, 0 // by the stacks of net/http's goroutines
	for _, group := range g.stacks() {
		switch {
		case strings.Contains(group.frames, "net/http.(*persistConn).readLoop+"):
			loops += group.count
			switch {
			case strings.Contains(group.frames, "bufio.(*Reader).Peek+"): // no answer has begun
				pooled += group.count
			case strings.Contains(group.frames, "net/http.(*persistConn).readResponse+"): // after 100 Continue
				inCall -= group.count
			default:
				inBody += group.count
			}
		case strings.Contains(group.frames, "net/http.(*persistConn).writeLoop+"):
			loops += group.count
		case !strings.Contains(group.top(), "fasthttp.(*workerPool).workerFunc"): // one of those waits for the next connection
			s.goroutines += group.count
		}
		if strings.Contains(group.frames, "net/http.(*persistConn).roundTrip+") {
			inCall += group.count
		}
	}
	s.idle = max(pooled-max(inCall, 0), 0)
	s.goroutines += loops - 2*s.idle
	_, s.fds = g.openFiles()
	s.fds -= s.idle
	toStore := 0
	for _, c := range g.sockets() {
		switch c.localPort {
		case portOf(g.s3):
			s.clients++
			if c.unsent > 0 {
				s.stuck++
			}
		case portOf(g.admin):
		default:
			toStore++
		}
	}
	s.busy = max(toStore-s.idle, inBody)
	return s
}

func (s standing) String() string {
	return fmt.Sprintf("%d goroutines, %d fds, %d clients (%d stuck), store connections: %d busy, %d idle",
		s.goroutines, s.fds, s.clients, s.stuck, s.busy, s.idle)
}

// lacks says what there is less of than all clients and, where the store is remote, so many connections to it in use.
func (s standing) lacks(base standing, remote bool, busy int) string {
	if s.clients < leavers || remote && s.busy < base.busy+busy {
		return "not all are in the middle: " + s.String()
	}
	return ""
}

// stack is what some goroutines have in common.
type stack struct {
	count  int
	frames string
}

func (s stack) top() string {
	first, _, _ := strings.Cut(s.frames, "\n")
	return first
}

// stacks are those of all goroutines.
func (g *gatewayProcess) stacks() (all []stack) {
	g.t.Helper()
	res, err := http.Get("http://" + g.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		g.t.Fatal(err)
	}
	for group := range strings.SplitSeq(string(readAll(g.t, res.Body)), "\n\n") {
		for line := range strings.Lines(group) {
			count, _, ok := strings.Cut(line, " @ ")
			if !ok {
				continue
			}
			n, err := strconv.Atoi(count)
			if err != nil {
				g.t.Fatalf("%q: %v", line, err)
			}
			_, frames, _ := strings.Cut(group, line)
			all = append(all, stack{n, frames})
		}
	}
	return all
}

// socket is a TCP connection of the process.
type socket struct {
	localPort int64
	unsent    int64 // bytes that the other side has not acknowledged
}

// sockets are the connections of the process, whatever their state, as proc_pid_fd(5) and proc_net(5) tell.
func (g *gatewayProcess) sockets() (all []socket) {
	g.t.Helper()
	proc := fmt.Sprintf("/proc/%d", g.cmd.Process.Pid)
	list, err := os.ReadDir(proc + "/fd")
	if err != nil {
		g.t.Fatal(err)
	}
	own := map[string]bool{}
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(proc, "fd", e.Name())); err == nil {
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	const listening = "0A"
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(proc + "/net/" + table)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			g.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || !own[f[9]] || f[3] == listening {
				continue
			}
			port, err := strconv.ParseInt(f[1][strings.LastIndexByte(f[1], ':')+1:], 16, 64)
			unsent, _, _ := strings.Cut(f[4], ":")
			bytes, err2 := strconv.ParseInt(unsent, 16, 64)
			if err := errors.Join(err, err2); err != nil {
				g.t.Fatalf("%q: %v", line, err)
			}
			all = append(all, socket{port, bytes})
		}
	}
	return all
}

func portOf(addr string) int64 {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseInt(port, 10, 64)
	return n
}

// leaving is one way to go.
type leaving struct {
	name   string
	faults [][]string // while they are there
	pauses bool       // the store stands still until they have gone
	// enter makes client i a connection on which something is under way.
	enter func(i int) (net.Conn, error)
	// inside says what misses until all are where they shall leave from.
	inside func(s, base standing, remote bool) string
}

// TestClientsThatLeaveEveryKindOfStore: the clients of a store leave at once in every way there is; what the process holds for
// them is given back within five seconds after the last has gone. Idle connections to the store may stay, in the pool;
// connections in use may not.
func TestClientsThatLeaveEveryKindOfStore(t *testing.T) {
	for _, kind := range slices.Concat(kinds, emulated) {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			up, srv := upstreamWith(t, kind, dir)
			g := startWith(t, setup{upstreams: up, cache: "size: 256MiB, reserve_free: 0"})
			id := g.prepareToLeave()
			base := g.standing()
			for range 3 { // what the preparations have left may still be on its way out
				time.Sleep(20 * time.Millisecond)
				if s := g.standing(); s.goroutines < base.goroutines {
					base = s
				}
			}
			t.Logf("before: %v", base)
			for _, way := range g.waysToLeave(id) {
				g.leave(way, base, kind != "local", pauseOf(t, kind, srv))
			}
			c := rawClient(1)
			defer c.CloseIdleConnections()
			for _, key := range []string{"cut-0", "stalled-3"} {
				seed := uint64(key[len(key)-1] - '0')
				if _, err := g.check(t.Context(), c, "/leave/"+key, content{seed, leftObject}); err != nil {
					t.Errorf("%s afterwards: %v", key, err)
				}
			}
		})
	}
}

// pauseOf makes the store stand still, and returns what lets it go on.
func pauseOf(t *testing.T, kind string, srv *servers.Server) func() (resume func()) {
	switch {
	case kind == "hdfs":
		h := sharedHadoop(t)
		return func() func() { h.NameNode.Pause(); return h.NameNode.Resume }
	case srv != nil:
		return func() func() { srv.Pause(); return srv.Resume }
	}
	return func() func() { return func() {} }
}

// prepareToLeave makes the objects and an upload, whose id it returns, and has done once what a process does once.
func (g *gatewayProcess) prepareToLeave() string {
	g.t.Helper()
	ctx, c, raw := g.t.Context(), g.client(), rawClient(4)
	defer raw.CloseIdleConnections()
	createBucket(g.t, c, "leave")
	for _, name := range []string{"cut", "stalled"} {
		for i := range leftObjects {
			what := content{uint64(i), leftObject}
			if _, err := g.put(ctx, raw, fmt.Sprintf("/leave/%s-%d", name, i), what.reader(), what.size); err != nil {
				g.t.Fatal(err)
			}
		}
	}
	what := content{9, 1 << 20}
	if _, err := g.put(ctx, raw, "/leave/small", what.reader(), what.size); err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.check(ctx, raw, "/leave/small", what); err != nil {
		g.t.Fatal(err)
	}
	begun, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String("leave"), Key: aws.String("parts")})
	if err != nil {
		g.t.Fatal(err)
	}
	_, err = c.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: aws.String("leave"), Key: aws.String("parts"), UploadId: begun.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(what.bytes()),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("leave")}); err != nil {
		g.t.Fatal(err)
	}
	return aws.ToString(begun.UploadId)
}

// waysToLeave are all of them; id is an upload of the key parts.
func (g *gatewayProcess) waysToLeave(id string) []leaving {
	slow := [][]string{{"upstream.bandwidth", "rate=1MB/s"}} // so that the driver is in the middle, too
	reading := func(s, base standing, remote bool) string { return s.lacks(base, remote, 1) }
	stuck := func(s, _ standing, _ bool) string {
		if s.stuck < leavers {
			return "not all stand still: " + s.String()
		}
		return ""
	}
	writing := func(s, base standing, remote bool) string { return s.lacks(base, remote, leavers) }
	listing := func(s, base standing, remote bool) string {
		if remote && s.goroutines < base.goroutines+leavers { // HDFS is asked over one connection
			return "not all wait for the store: " + s.String()
		}
		return s.lacks(base, false, 0)
	}
	put := func(i int) string { return fmt.Sprintf("/leave/new-%d", i) }
	part := func(i int) string { return fmt.Sprintf("/leave/parts?partNumber=%d&uploadId=%s", 2+i, id) }
	return []leaving{
		{name: "GET, cut", faults: slow, inside: reading, enter: func(i int) (net.Conn, error) { return g.getHalf("cut", i) }},
		{name: "GET, stalled", inside: stuck, enter: func(i int) (net.Conn, error) { return g.getHalf("stalled", i) }},
		{name: "PUT, cut", inside: writing, enter: func(i int) (net.Conn, error) { return g.putHalf(put(i), declaredBody) }},
		{name: "PUT, stalled", inside: writing, enter: func(i int) (net.Conn, error) { return g.putHalf(put(i), 1<<20) }},
		{name: "UploadPart, cut", inside: writing, enter: func(i int) (net.Conn, error) { return g.putHalf(part(i), declaredBody) }},
		{name: "UploadPart, stalled", inside: writing, enter: func(i int) (net.Conn, error) { return g.putHalf(part(i), 1<<20) }},
		{name: "LIST, cut", pauses: true, inside: listing, enter: func(int) (net.Conn, error) {
			return g.begin(http.MethodGet, "/leave?list-type=2")
		}},
	}
}

// leave lets all clients in, waits until they are in the middle, closes their connections, and waits for rest.
func (g *gatewayProcess) leave(way leaving, base standing, remote bool, pause func() func()) {
	g.t.Helper()
	for _, f := range way.faults {
		g.fault(f[0], f[1:]...)
	}
	resume := func() {}
	if way.pauses {
		resume = pause()
	}
	conns, errs := make([]net.Conn, leavers), make([]error, leavers)
	var all sync.WaitGroup
	for i := range leavers {
		all.Go(func() { conns[i], errs[i] = way.enter(i) })
	}
	all.Wait()
	gone := func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
		resume()
	}
	defer gone() // what is closed may be closed again
	if err := errors.Join(errs...); err != nil {
		g.t.Errorf("%s: %v", way.name, err)
		return
	}
	var peak standing
	deadline := time.Now().Add(20 * time.Second)
	for {
		peak = g.standing()
		missing := way.inside(peak, base, remote)
		if missing == "" {
			break
		}
		if time.Now().After(deadline) {
			g.t.Errorf("%s: %s", way.name, missing)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	gone()
	g.awaitStanding(way.name, base, peak)
	if len(way.faults) > 0 {
		g.clearFaults()
	}
}

// awaitStanding fails the test when the process holds more than base after backAtRest.
func (g *gatewayProcess) awaitStanding(name string, base, peak standing) {
	g.t.Helper()
	began := time.Now()
	for {
		now := g.standing()
		took := time.Since(began)
		// What comes and goes by itself is less than one of forty leaks, seven times over.
		if now.goroutines <= base.goroutines+5 && now.fds <= base.fds+5 && now.clients <= base.clients && now.busy <= base.busy {
			g.t.Logf("%-20s peak: %v; %3d ms after the last has gone: %v", name, peak, took.Milliseconds(), now)
			return
		}
		if took > backAtRest {
			g.t.Errorf("%s: not back in %v: before %v; peak %v; now %v", name, backAtRest, base, peak, now)
			for _, s := range g.stacks() {
				g.t.Logf("%d goroutines\n%s", s.count, s.frames)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// begin sends the head of a request that is signed, but for its payload and some lines.
func (g *gatewayProcess) begin(method, target string, lines ...string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	req, err := signed(ctx, method, g.url()+target, nil)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.s3)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10) // so that one who does not read is felt soon
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, req.URL.RequestURI(), g.s3)
	for _, line := range lines {
		head.WriteString(line + "\r\n")
	}
	_ = req.Header.Write(&head)
	head.WriteString("\r\n")
	_, err = conn.Write(head.Bytes())
	return conn, err
}

// getHalf reads the first bytes of a body that nobody has read before, and no more.
func (g *gatewayProcess) getHalf(name string, i int) (net.Conn, error) {
	conn, err := g.begin(http.MethodGet, fmt.Sprintf("/leave/%s-%d", name, i%leftObjects),
		fmt.Sprintf("Range: bytes=%d-", i/leftObjects<<20))
	if err != nil {
		return conn, err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return conn, err
	}
	if res.StatusCode != http.StatusPartialContent {
		return conn, fmt.Errorf("status %d", res.StatusCode)
	}
	_, err = io.CopyN(io.Discard, res.Body, 1)
	return conn, err
}

// putHalf sends n bytes of a body that is said to be longer; if n is all of it, it goes on sending in the background,
// slowly.
func (g *gatewayProcess) putHalf(target string, n int64) (net.Conn, error) {
	conn, err := g.begin(http.MethodPut, target, fmt.Sprintf("Content-Length: %d", declaredBody))
	if err != nil {
		return conn, err
	}
	const first = 100_000
	if n < declaredBody {
		_, err := io.CopyN(conn, content{7, declaredBody}.reader(), n)
		return conn, err
	}
	if _, err := io.CopyN(conn, content{7, declaredBody}.reader(), first); err != nil {
		return conn, err
	}
	go func() { // ends when the connection is closed
		piece := make([]byte, 16<<10)
		for {
			time.Sleep(20 * time.Millisecond)
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	}()
	return conn, nil
}
