;; Not a component.
(module (func (export "run")))
