// Package e2e tests the real binary with real clients and real servers. The tests are built with the
// tag e2e and run by make e2e, which builds what they need and names it in the environment.
package e2e
