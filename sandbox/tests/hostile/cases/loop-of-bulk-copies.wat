;;! what = "Few instructions that move much memory each: bulk operations cost by their size, so the fuel ends before the time."
;;! template = "plain"
;;! [limits]
;;! fuel = 2000000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
(memory $big 1024)
(func (export "run") (result i32)
  (loop $l (memory.fill $big (i32.const 0) (i32.const 1) (i32.const 67108864)) (br $l)) unreachable)
