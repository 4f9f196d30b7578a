;;! what = "A vector load that begins inside of memory and ends outside."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(func (export "run") (result i32)
  (drop (v128.load (i32.const 65535))) (call $ok))
