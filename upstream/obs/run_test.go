package obs

import (
	"errors"
	"testing"
)

// TestPanicsOfTheSDKAreErrors: the SDK recovers from its own panics and returns neither a result nor an error, over
// which it then falls.
func TestPanicsOfTheSDKAreErrors(t *testing.T) {
	err := run(func() error { panic("of a body, or of a nil answer") })
	if !errors.Is(err, errPanic) {
		t.Errorf("%v", err)
	}
	if err := run(func() error { return nil }); err != nil {
		t.Error(err)
	}
}
