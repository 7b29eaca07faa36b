package upstream

import "context"

// backgroundShare is the part of a store's slots that background calls may hold together: the others are kept for
// calls that somebody waits for.
const backgroundShare = 0.75

type backgroundKey struct{}

// Background marks the calls made with the context as ones that nobody waits for.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

func isBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// backgroundSlots returns how many of n slots background calls may hold.
func backgroundSlots(n int) int { return max(1, int(float64(n)*backgroundShare)) }
