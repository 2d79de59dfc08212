// A diary: awaits itself, catches what it does not survive, keeps its lines over upgrades, has a timer.
import Prim "mo:⛔";

actor class Diary(first : Text) {
  stable var lines : [Text] = [first];
  var beats : Nat = 0;

  func write(line : Text) {
    let before = lines;
    lines := Prim.Array_tabulate<Text>(before.size() + 1, func i { if (i < before.size()) before[i] else line });
  };

  public func length() : async Nat { lines.size() };

  public func add(line : Text) : async Nat {
    write(line);
    let counted = await length();
    assert (counted == (await length()));
    counted;
  };

  public func fail() : async () {
    lines := [];
    assert false;
  };

  public func careful() : async Text {
    write("careful");
    try { await fail(); "" } catch (e) { Prim.errorMessage(e) };
  };

  public query func read() : async [Text] { lines };
  public composite query func twice() : async [Text] {
    ignore await read();
    await read();
  };
  public query func beaten() : async Nat { beats };

  system func timer(set : Nat64 -> ()) : async () {
    beats += 1;
    ignore await length();
    set(Prim.time() + 10_000_000_000);
  };

  system func inspect({ arg : Blob }) : Bool { arg.size() < 100 };
  system func preupgrade() { Prim.debugPrint("before") };
  system func postupgrade() { Prim.debugPrint("after") };
};
