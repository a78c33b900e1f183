defmodule Palladion.Config.NodeKeyTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.NodeKey

  @host_id "8d2c6b00-d6c1-41ee-8c3e-0242ac120002"

  test "every way to write one, in one spelling" do
    for {given, key, kind} <- [
          {@host_id, @host_id, :host_id},
          {String.upcase(@host_id), @host_id, :host_id},
          {"10.0.0.1", "10.0.0.1", :address},
          {{10, 0, 0, 1}, "10.0.0.1", :address},
          {"10.0.0.1:9042", "10.0.0.1:9042", :address},
          {{{10, 0, 0, 1}, 9042}, "10.0.0.1:9042", :address},
          {"2001:DB8:0::1", "2001:db8::1", :address},
          {"[2001:DB8::1]", "2001:db8::1", :address},
          {"[2001:DB8::1]:9042", "[2001:db8::1]:9042", :address},
          {"DB1.example", "db1.example", :name},
          {~c"db1.example:9042", "db1.example:9042", :name},
          {{"db1", 1}, "db1:1", :name}
        ] do
      assert NodeKey.parse(given) == {:ok, key, kind}
    end
  end

  test "anything else is none" do
    for given <- ["", "a b", "db1:", "db1:0", "[db1]", "http://db1", 17, nil, :db1, {"db1", nil}] do
      assert NodeKey.parse(given) == :error, inspect(given)
    end
  end
end
