package gateway

import "testing"

func TestUploadMemory(t *testing.T) {
	tests := []struct{ process, want int64 }{
		{0, 256 << 20}, {1 << 20, 16 << 20}, {64 << 20, 16 << 20}, {512 << 20, 128 << 20}, {4 << 30, 1 << 30}, {64 << 30, 1 << 30},
	}
	for _, tt := range tests {
		if got := uploadMemory(tt.process); got != tt.want {
			t.Errorf("uploadMemory(%d) = %d, want %d", tt.process, got, tt.want)
		}
	}
}
