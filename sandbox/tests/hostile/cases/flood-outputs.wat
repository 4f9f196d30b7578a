;;! what = "Ever new outputs."
;;! template = "context"
;;! [expect]
;;! end = "limit"
;;! limit = "outputs"
;;! value = 64
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l
    (i32.store8 (i32.const 1024) (i32.add (i32.const 97) (i32.and (local.get $i) (i32.const 15))))
    (i32.store8 (i32.const 1025) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $i) (i32.const 4)) (i32.const 15))))
    (call $create (i32.const 1024) (i32.const 2) (i32.const 16))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $l))
  unreachable)
