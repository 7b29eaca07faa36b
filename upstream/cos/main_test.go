package cos_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A server that refuses a body keeps its end open for half a second, which is nobody's leak.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
