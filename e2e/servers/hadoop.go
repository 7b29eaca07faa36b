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
)

// HadoopConfig describes a cluster.
type HadoopConfig struct {
	DataNodes int
	BlockSize int // a multiple of 4096
}

// Hadoop is a running HDFS cluster: a NameNode and some DataNodes, each a JVM on 127.0.0.1. Its methods are
// called by one goroutine at a time.
type Hadoop struct {
	Addr      string // of the NameNode's RPC
	Dir       string
	NameNode  *Daemon
	DataNodes []*Daemon

	cfg        HadoopConfig
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

// StartHadoop formats and starts a cluster for one test.
func StartHadoop(t testing.TB, cfg HadoopConfig) *Hadoop {
	t.Helper()
	h, err := RunHadoop(t.Context(), t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Stop()
		if t.Failed() {
			t.Log(h.Said())
		}
	})
	return h
}

// RunHadoop formats and starts a cluster in an empty directory. Its JVMs end with Stop, or with the process.
func RunHadoop(ctx context.Context, dir string, cfg HadoopConfig) (*Hadoop, error) {
	h := &Hadoop{Dir: dir, cfg: cfg, jars: os.Getenv(HadoopVariable)}
	if found, err := filepath.Glob(filepath.Join(h.jars, "hadoop-hdfs-3*.jar")); h.jars == "" || err != nil || len(found) == 0 {
		return nil, fmt.Errorf("%s must name the directory of Hadoop's jars, not %q", HadoopVariable, h.jars)
	}
	var err error
	if h.Addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if h.http, err = freeAddr(); err != nil {
		return nil, err
	}
	if h.NameNode, err = h.daemon("namenode", nameNodeClass, h.nameNodeConfig()); err != nil {
		return nil, err
	}
	for i := range cfg.DataNodes {
		d, err := h.dataNode(i)
		if err != nil {
			return nil, err
		}
		h.DataNodes = append(h.DataNodes, d)
	}
	if err := h.format(); err != nil {
		return nil, err
	}
	err = h.NameNode.start()
	for _, d := range h.DataNodes {
		err = errors.Join(err, d.start())
	}
	if err == nil {
		err = h.await(ctx)
	}
	if err != nil {
		h.Stop()
		return nil, fmt.Errorf("%w\n%s", err, h.Said())
	}
	return h, nil
}

// Stop ends all JVMs by SIGKILL.
func (h *Hadoop) Stop() {
	for _, d := range append(h.DataNodes, h.NameNode) {
		d.Kill()
	}
}

// Said is the end of what each JVM has printed.
func (h *Hadoop) Said() string {
	text := ""
	for _, d := range append(h.DataNodes[:len(h.DataNodes):len(h.DataNodes)], h.NameNode) {
		text += d.name + " said:\n" + d.log.String() + "\n"
	}
	return text
}

func (h *Hadoop) common() map[string]string {
	return map[string]string{
		"fs.defaultFS": "hdfs://" + h.Addr, "hadoop.tmp.dir": h.Dir,
		"dfs.namenode.rpc-address": h.Addr, "dfs.namenode.http-address": h.http,
		"dfs.replication": "1", "dfs.blocksize": strconv.Itoa(h.cfg.BlockSize),
		"dfs.namenode.fs-limits.min-block-size": "4096",
	}
}

func (h *Hadoop) nameNodeConfig() map[string]string {
	config := h.common()
	for k, v := range map[string]string{
		"dfs.namenode.name.dir":           "file://" + filepath.Join(h.Dir, "namenode", "name"),
		"dfs.namenode.safemode.extension": "0",
		// A killed process loses nothing of what the system has not written to the disk yet.
		"dfs.namenode.edits.noeditlogchannelflush": "true",
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

func (h *Hadoop) dataNode(i int) (*Daemon, error) {
	config := h.common()
	for _, key := range []string{"dfs.datanode.address", "dfs.datanode.ipc.address", "dfs.datanode.http.address"} {
		addr, err := freeAddr() // fixed, so that a restart keeps it
		if err != nil {
			return nil, err
		}
		config[key] = addr
	}
	name := fmt.Sprintf("datanode%d", i)
	config["dfs.datanode.data.dir"] = "file://" + filepath.Join(h.Dir, name, "data")
	config["dfs.datanode.hostname"] = "127.0.0.1"
	config["dfs.heartbeat.interval"] = "1"
	config["ipc.client.connect.max.retries"] = "1000" // until the NameNode is back
	d, err := h.daemon(name, dataNodeClass, config)
	if err == nil {
		d.http = config["dfs.datanode.http.address"]
	}
	return d, err
}

const logConfig = `log4j.rootLogger=INFO,console
log4j.logger.org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit=WARN
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
`

// daemon writes the configuration of a JVM.
func (h *Hadoop) daemon(name, class string, config map[string]string) (*Daemon, error) {
	dir := filepath.Join(h.Dir, name)
	conf := filepath.Join(dir, "conf")
	for _, app := range []string{"hdfs", "datanode"} { // that the daemons look for, though the jars have none
		if err := os.MkdirAll(filepath.Join(conf, "webapps", app), 0o755); err != nil {
			return nil, err
		}
	}
	var xml strings.Builder
	xml.WriteString("<configuration>\n")
	for k, v := range config {
		fmt.Fprintf(&xml, "<property><name>%s</name><value>%s</value></property>\n", k, v)
	}
	xml.WriteString("</configuration>\n")
	for file, text := range map[string]string{"core-site.xml": xml.String(), "hdfs-site.xml": xml.String(), "log4j.properties": logConfig} {
		if err := os.WriteFile(filepath.Join(conf, file), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	d := &Daemon{Dir: dir, name: name, log: &tail{}}
	d.command = func() *exec.Cmd { return h.java(conf, "hdfs", class) }
	return d, nil
}

// java is a JVM with a small heap that runs as a user of the cluster.
func (h *Hadoop) java(conf, user, class string, args ...string) *exec.Cmd {
	args = append([]string{"-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true",
		"--add-opens", "java.base/java.lang=ALL-UNNAMED", // WebHDFS, on Java 17

		"-cp", conf + ":" + filepath.Join(h.jars, "*"), class}, args...)
	cmd := exec.Command("java", args...)
	cmd.Env = append(os.Environ(), "HADOOP_USER_NAME="+user)
	return cmd
}

// format makes the file system; the user who does owns its root.
func (h *Hadoop) format() error {
	cmd := h.java(filepath.Join(h.NameNode.Dir, "conf"), HadoopUser, nameNodeClass, "-format", "-nonInteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting: %w\n%s", err, out)
	}
	return nil
}

// Await waits until the NameNode is out of safe mode and all DataNodes serve.
func (h *Hadoop) Await(t testing.TB) {
	t.Helper()
	if err := h.await(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, h.Said())
	}
}

func (h *Hadoop) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	for {
		err := h.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not ready in %v: %w", readyIn, err)
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

// List returns the names in a directory of the cluster, by WebHDFS; none when it is not there.
func (h *Hadoop) List(ctx context.Context, dir string) ([]string, error) {
	var answer struct {
		FileStatuses struct {
			FileStatus []struct{ PathSuffix string }
		}
	}
	status, err := getJSON(ctx, "http://"+h.http+"/webhdfs/v1"+dir+"?op=LISTSTATUS&user.name="+HadoopUser, &answer)
	if status == http.StatusNotFound {
		return nil, nil
	}
	var names []string
	for _, s := range answer.FileStatuses.FileStatus {
		names = append(names, s.PathSuffix)
	}
	return names, err
}

// bean reads a bean of a daemon's JMX.
func bean(ctx context.Context, addr, name string, to any) error {
	var answer struct {
		Beans []json.RawMessage `json:"beans"`
	}
	if _, err := getJSON(ctx, "http://"+addr+"/jmx?qry="+name, &answer); err != nil {
		return err
	}
	if len(answer.Beans) != 1 {
		return fmt.Errorf("%s has no %s", addr, name)
	}
	return json.Unmarshal(answer.Beans[0], to)
}

func getJSON(ctx context.Context, url string, to any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return resp.StatusCode, err
	}
	if err := json.Unmarshal(body, to); err != nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("%s: %s: %q: %w", url, resp.Status, body, err)
	}
	return resp.StatusCode, nil
}

// Start runs the JVM. It does not wait until it serves.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	if err := d.start(); err != nil {
		t.Fatalf("%s does not start: %v", d.name, err)
	}
}

func (d *Daemon) start() error {
	cmd := d.command()
	cmd.Stdout, cmd.Stderr = d.log, d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p, err := startProcess(cmd)
	if err == nil {
		d.process = p
	}
	return err
}

// Kill ends the JVM by SIGKILL and waits for it.
func (d *Daemon) Kill() { d.end(syscall.SIGKILL) }

// Pause stops the JVM in its tracks, and returns when every thread stands still.
func (d *Daemon) Pause() { d.process.pause() }

// Resume lets a paused JVM go on.
func (d *Daemon) Resume() { d.process.signal(syscall.SIGCONT) }

func (d *Daemon) end(sig syscall.Signal) {
	if d.process == nil {
		return
	}
	d.process.signal(sig)
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
