;;! what = "Returns a pointer to nowhere."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32) (i32.const -4))
