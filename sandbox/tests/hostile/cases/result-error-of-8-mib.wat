;;! what = "Fails with 8 MiB of text: what is kept of it is short."
;;! template = "plain"
;;! [expect]
;;! end = "guest-error"
(func (export "run") (result i32)
  (drop (memory.grow (i32.const 128)))
  (memory.fill (i32.const 4096) (i32.const 120) (i32.const 8388608))
  (i32.store8 (i32.const 0) (i32.const 1))
  (i32.store (i32.const 4) (i32.const 4096))
  (i32.store (i32.const 8) (i32.const 8388608))
  (i32.const 0))
