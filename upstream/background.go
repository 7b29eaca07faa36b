package upstream

import "context"

// backgroundShare is the part of a store's slots that background calls may hold together: the others are kept for
// calls that somebody waits for.
const backgroundShare = 0.75

type backgroundKey struct{}

// Background marks the calls made with the context as ones that nobody waits for.
func Background(ctx context.Context) context.Context { return BackgroundUntil(ctx, nil) }

// BackgroundUntil is Background until wanted is closed: somebody waits from then on, and a call that waits in the
// background leaves it.
func BackgroundUntil(ctx context.Context, wanted <-chan struct{}) context.Context {
	return context.WithValue(ctx, backgroundKey{}, wanted)
}

// IsBackground reports whether nobody waits for the calls made with the context now.
func IsBackground(ctx context.Context) bool {
	_, behind := background(ctx)
	return behind
}

// background is IsBackground, and returns what ends it; nil when nothing does.
func background(ctx context.Context) (wanted <-chan struct{}, behind bool) {
	wanted, behind = ctx.Value(backgroundKey{}).(<-chan struct{})
	select {
	case <-wanted:
		return nil, false
	default:
		return wanted, behind
	}
}

// backgroundSlots returns how many of n slots background calls may hold.
func backgroundSlots(n int) int { return max(1, int(float64(n)*backgroundShare)) }
