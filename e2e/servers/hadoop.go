package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// HadoopVariable names the environment variable with the directory of Hadoop's jars.
const HadoopVariable = "UNISTORE_TEST_HADOOP"

// HadoopUser owns the root directory of the cluster; it has no special rights.
const HadoopUser = "unistore"

const (
	nameNodeClass = "org.apache.hadoop.hdfs.server.namenode.NameNode"
	dataNodeClass = "org.apache.hadoop.hdfs.server.datanode.DataNode"
	// HadoopBlock is the cluster's block size, small so that objects have many blocks.
	HadoopBlock = 1 << 20
)

// Hadoop is a running HDFS cluster: a NameNode and some DataNodes, each a JVM on 127.0.0.1. Its methods are
// called by one goroutine at a time.
type Hadoop struct {
	Addr      string // of the NameNode's RPC
	Dir       string
	NameNode  *Daemon
	DataNodes []*Daemon

	jars, http string
}

// Daemon is one JVM of a cluster.
type Daemon struct {
	Dir string // its data

	name    string
	http    string // of a DataNode
	command func() *exec.Cmd
	log     *tail
	process *process
}

// StartHadoop formats and starts a cluster with n DataNodes, whose files have n replicas.
func StartHadoop(t testing.TB, n int) *Hadoop {
	t.Helper()
	h := &Hadoop{Dir: t.TempDir(), jars: os.Getenv(HadoopVariable)}
	if found, err := filepath.Glob(filepath.Join(h.jars, "hadoop-hdfs-3*.jar")); h.jars == "" || err != nil || len(found) == 0 {
		t.Fatalf("%s must name the directory of Hadoop's jars, not %q", HadoopVariable, h.jars)
	}
	var err error
	if h.Addr, err = freeAddr(); err == nil {
		h.http, err = freeAddr()
	}
	if err != nil {
		t.Fatal(err)
	}
	h.NameNode = h.daemon(t, "namenode", nameNodeClass, h.nameNodeConfig(n))
	for i := range n {
		config, err := h.dataNodeConfig(n, i)
		if err != nil {
			t.Fatal(err)
		}
		d := h.daemon(t, fmt.Sprintf("datanode%d", i), dataNodeClass, config)
		d.http = config["dfs.datanode.http.address"]
		h.DataNodes = append(h.DataNodes, d)
	}
	h.format(t)
	h.NameNode.Start(t)
	for _, d := range h.DataNodes {
		d.Start(t)
	}
	h.Await(t)
	return h
}

func (h *Hadoop) common(n int) map[string]string {
	return map[string]string{
		"fs.defaultFS": "hdfs://" + h.Addr, "hadoop.tmp.dir": h.Dir,
		"dfs.namenode.rpc-address": h.Addr, "dfs.namenode.http-address": h.http,
		"dfs.replication": strconv.Itoa(n), "dfs.blocksize": strconv.Itoa(HadoopBlock),
		"dfs.namenode.fs-limits.min-block-size": "4096",
		"hadoop.http.metrics.enabled":           "true",
	}
}

func (h *Hadoop) nameNodeConfig(n int) map[string]string {
	config := h.common(n)
	for k, v := range map[string]string{
		"dfs.namenode.name.dir":           "file://" + filepath.Join(h.Dir, "namenode", "name"),
		"dfs.namenode.safemode.extension": "0",
		// A DataNode is dead after 2*1 s + 10*1 s, and stale, which readers avoid, after 3 s.
		"dfs.heartbeat.interval": "1", "dfs.namenode.heartbeat.recheck-interval": "1000",
		"dfs.namenode.stale.datanode.interval":   "3000",
		"dfs.namenode.avoid.read.stale.datanode": "true",
		// Two DataNodes of one machine may hold the replicas of one block.
		"dfs.namenode.redundancy.considerLoad": "false",
	} {
		config[k] = v
	}
	return config
}

func (h *Hadoop) dataNodeConfig(n, i int) (map[string]string, error) {
	config := h.common(n)
	for _, key := range []string{"dfs.datanode.address", "dfs.datanode.ipc.address", "dfs.datanode.http.address"} {
		addr, err := freeAddr() // fixed, so that a restart keeps it
		if err != nil {
			return nil, err
		}
		config[key] = addr
	}
	config["dfs.datanode.data.dir"] = "file://" + filepath.Join(h.Dir, fmt.Sprintf("datanode%d", i), "data")
	config["dfs.datanode.hostname"] = "127.0.0.1"
	config["dfs.heartbeat.interval"] = "1"
	config["ipc.client.connect.max.retries"] = "1000" // until the NameNode is back
	return config, nil
}

// daemon writes the configuration of a JVM.
func (h *Hadoop) daemon(t testing.TB, name, class string, config map[string]string) *Daemon {
	t.Helper()
	dir := filepath.Join(h.Dir, name)
	conf := filepath.Join(dir, "conf")
	for _, app := range []string{"hdfs", "datanode"} { // that the daemons look for, though the jars have none
		if err := os.MkdirAll(filepath.Join(conf, "webapps", app), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var xml strings.Builder
	xml.WriteString("<configuration>\n")
	for k, v := range config {
		fmt.Fprintf(&xml, "<property><name>%s</name><value>%s</value></property>\n", k, v)
	}
	xml.WriteString("</configuration>\n")
	log := "log4j.rootLogger=INFO,console\nlog4j.appender.console=org.apache.log4j.ConsoleAppender\n" +
		"log4j.appender.console.target=System.err\nlog4j.appender.console.layout=org.apache.log4j.PatternLayout\n" +
		"log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n\n"
	for file, text := range map[string]string{"core-site.xml": xml.String(), "hdfs-site.xml": xml.String(), "log4j.properties": log} {
		if err := os.WriteFile(filepath.Join(conf, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := &Daemon{Dir: dir, name: name, log: &tail{}}
	d.command = func() *exec.Cmd { return h.java(conf, "hdfs", class) }
	t.Cleanup(func() {
		d.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%s", name, d.log)
		}
	})
	return d
}

// java is a JVM with a small heap that runs as a user of the cluster.
func (h *Hadoop) java(conf, user, class string, args ...string) *exec.Cmd {
	args = append([]string{"-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true",
		"-cp", conf + ":" + filepath.Join(h.jars, "*"), class}, args...)
	cmd := exec.Command("java", args...)
	cmd.Env = append(os.Environ(), "HADOOP_USER_NAME="+user)
	return cmd
}

// format makes the file system; the user who does owns its root.
func (h *Hadoop) format(t testing.TB) {
	t.Helper()
	cmd := h.java(filepath.Join(h.NameNode.Dir, "conf"), HadoopUser, nameNodeClass, "-format", "-nonInteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("formatting: %v\n%s", err, out)
	}
}

// Await waits until the NameNode is out of safe mode and all DataNodes serve.
func (h *Hadoop) Await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyIn)
	defer cancel()
	for {
		err := h.ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the cluster is not ready in %v: %v\n%s", readyIn, err, h.NameNode.log)
		case <-time.After(pollEvery):
		}
	}
}

func (h *Hadoop) ready(ctx context.Context) error {
	var state struct {
		NumLiveDataNodes, NumStaleDataNodes int
		FSState                             string
	}
	if err := bean(ctx, h.http, "Hadoop:service=NameNode,name=FSNamesystemState", &state); err != nil {
		return err
	}
	if state.FSState != "Operational" || state.NumLiveDataNodes < len(h.DataNodes) || state.NumStaleDataNodes > 0 {
		return fmt.Errorf("%+v", state)
	}
	for _, d := range h.DataNodes {
		// The NameNode takes one that has just died for alive; it knows itself whether it serves.
		var info struct{ BPServiceActorInfo string }
		if err := bean(ctx, d.http, "Hadoop:service=DataNode,name=DataNodeInfo", &info); err != nil {
			return err
		}
		if !strings.Contains(info.BPServiceActorInfo, `"ActorState":"RUNNING"`) {
			return fmt.Errorf("%s: %s", d.name, info.BPServiceActorInfo)
		}
	}
	return nil
}

// bean reads a bean of a daemon's JMX.
func bean(ctx context.Context, addr, name string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/jmx?qry="+name, http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	var answer struct {
		Beans []json.RawMessage `json:"beans"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Beans) != 1 {
		return fmt.Errorf("%s: no %s in %q: %w", addr, name, body, err)
	}
	return json.Unmarshal(answer.Beans[0], to)
}

// Start runs the JVM. It does not wait until it serves.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	cmd := d.command()
	cmd.Stdout, cmd.Stderr = d.log, d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatalf("%s does not start: %v", d.name, err)
	}
	d.process = p
}

// Kill ends the JVM by SIGKILL and waits for it.
func (d *Daemon) Kill() { d.end(syscall.SIGKILL) }

// Pause stops the JVM in its tracks; Resume lets it go on.
func (d *Daemon) Pause() { d.signal(syscall.SIGSTOP) }

// Resume lets a paused JVM go on.
func (d *Daemon) Resume() { d.signal(syscall.SIGCONT) }

func (d *Daemon) signal(sig syscall.Signal) {
	if d.process != nil {
		_ = d.process.cmd.Process.Signal(sig) // it may have ended
	}
}

func (d *Daemon) end(sig syscall.Signal) {
	if d.process == nil {
		return
	}
	_ = d.process.cmd.Process.Signal(sig)
	<-d.process.ended
	d.process = nil
}

// Blocks returns the files that hold the blocks of a DataNode.
func (d *Daemon) Blocks() ([]string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(d.Dir, "data"), func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), "blk_") && !strings.HasSuffix(e.Name(), ".meta") {
			files = append(files, path)
		}
		return err
	})
	return files, err
}
