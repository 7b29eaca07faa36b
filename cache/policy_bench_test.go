package cache

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// BenchmarkPolicy is what a million blocks cost: a read of one that is there (touch), one that is not and takes
// another's place (turnover: a victim, remove, insert), and the bytes beside the blocks themselves.
func BenchmarkPolicy(b *testing.B) {
	const held = 1_000_000
	for _, name := range Policies {
		p := &classes{inner: newPolicy(name)}
		r := rand.New(rand.NewPCG(1, 1))
		z := rand.NewZipf(r, 1.1, 10, 2*held)
		v := &version{}
		blocks := make([]block, held)
		order := make([]uint32, 1<<20)
		for i := range order {
			order[i] = uint32(z.Uint64())
		}
		next := 0
		zipf := func() uint32 { // drawn before: it takes longer than what is measured
			next++
			return order[next&(len(order)-1)]
		}
		before := heapInUse()
		for i := range blocks {
			blocks[i] = block{v: v, index: uint32(i)}
			p.insert(&blocks[i])
		}
		turn := func() {
			for old := range p.victims() {
				p.remove(old)
				*old = block{v: v, index: held + zipf()}
				p.insert(old)
				return
			}
		}
		for range held { // beyond the first eviction
			turn()
		}
		aside := float64(heapInUse()-before) / held
		b.Run(name+"/touch", func(b *testing.B) {
			for range b.N {
				p.touch(&blocks[zipf()%held], true)
			}
			b.ReportMetric(aside, "B/block")
		})
		b.Run(name+"/turnover", func(b *testing.B) {
			for range b.N {
				turn()
			}
		})
		b.Run(name+"/mixed", func(b *testing.B) {
			for i := range b.N {
				p.touch(&blocks[zipf()%held], true)
				if i%4 == 0 {
					turn()
				}
			}
		})
		runtime.KeepAlive(blocks)
	}
}
