import json
import wit_world
from wit_world.imports import context

class WitWorld(wit_world.WitWorld):
    def run(self) -> str:
        word = json.loads(context.params())["word"]
        file = context.Input.open("text")
        text = file.read(0, file.size()).decode()
        context.log(context.Level.INFO, f"{len(text)} characters")
        count = text.count(word)
        context.metric("count", 0, float(count))
        return json.dumps({"count": count})
