//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"unistore/e2e/servers"
)

// TestEmulatorsByVendorsClients: the emulators speak the vendors' protocols as the vendors' own clients for
// Node understand them. It is about the emulators, not about the gateway.
func TestEmulatorsByVendorsClients(t *testing.T) {
	const modulesVariable = "UNISTORE_TEST_NPM"
	modules := os.Getenv(modulesVariable)
	if modules == "" {
		t.Fatalf("%s must name the directory of the npm packages", modulesVariable)
	}
	if _, err := os.Stat(filepath.Join(modules, "ali-oss")); err != nil {
		t.Fatalf("%s: %v", modulesVariable, err)
	}
	const checks = 88
	record, err := os.ReadFile("../docs/conformance.md")
	if want := fmt.Sprintf("each of which passes %d checks", checks); err != nil || !strings.Contains(strings.Join(strings.Fields(string(record)), " "), want) {
		t.Errorf("docs/conformance.md does not say %q, %v", want, err)
	}
	for client, dialect := range map[string]string{"oss-v4": "oss", "oss-v1": "oss", "obs": "obs", "cos": "cos"} {
		t.Run(client+" on the emulator", func(t *testing.T) {
			t.Parallel()
			emu := servers.StartEmulator(t, dialect, "-complete-spaces", "3")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "npm/roundtrip.js", client, emu.Port(), emu.AccessKey, emu.SecretKey, servers.EmulatorRegion)
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
			out, err := cmd.CombinedOutput()
			passed := 0
			for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "ok ") {
					passed++
				}
			}
			if err != nil || passed != checks {
				t.Fatalf("%d of %d checks passed, %v:\n%s", passed, checks, err, tailOf(string(out), 4000))
			}
			t.Logf("%s on the %s emulator: %d checks passed", client, dialect, passed)
		})
	}
}
