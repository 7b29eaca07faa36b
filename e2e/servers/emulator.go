package servers

import (
	"net"
	"os"
	"os/exec"
	"testing"
)

// EmulatorVariable is the environment variable with the path of the emulators' binary (e2e/emulator).
const EmulatorVariable = "UNISTORE_TEST_EMULATOR"

// EmulatorRegion is the region that a signature for an emulator must name, where the dialect has one.
const EmulatorRegion = "cn-hangzhou"

// StartEmulator runs UniStore's emulator of a cloud: oss, obs or cos. It is not the vendor's service. It forgets
// everything when it stops.
func StartEmulator(t testing.TB, dialect string, args ...string) *Server {
	t.Helper()
	binary := binaryFrom(t, EmulatorVariable)
	s := newServer(t, dialect+" emulator")
	s.command = func(addr string) *exec.Cmd {
		cmd := exec.Command(binary, append([]string{
			"-dialect", dialect, "-listen", addr, "-access", s.AccessKey, "-secret", s.SecretKey, "-region", EmulatorRegion,
		}, args...)...)
		cmd.Env = os.Environ()
		return cmd
	}
	s.start(t)
	return s
}

// Port is that of the server's address.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// VirtualHost is the endpoint at which a dialect's emulator is spoken to as the vendor is: with the bucket in front of the
// host's name.
func (s *Server) VirtualHost(dialect string) string {
	return "http://" + net.JoinHostPort(dialect+".localhost", s.Port())
}
