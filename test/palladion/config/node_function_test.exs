defmodule Palladion.Config.NodeFunctionTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.NodeFunction
  alias Palladion.Node

  @path [:tls, :verify_hostname]

  def rack(node, more), do: {node.rack, more}

  test "both forms are called with the node" do
    for {function, answer} <- [
          {& &1.rack, "a"},
          {{__MODULE__, :rack, [:more]}, {"a", :more}}
        ] do
      assert NodeFunction.check(function, @path) == {function, []}
      assert NodeFunction.call(function, %Node{rack: "a"}) == answer
    end
  end

  test "what can't be called is told" do
    for bad <- [
          fn -> nil end,
          fn _, _ -> nil end,
          {__MODULE__, :rack, []},
          {__MODULE__, :none, [1]},
          {MyApp.Nowhere, :rack, [1]},
          {__MODULE__, :rack, 1},
          {__MODULE__, :rack, [:more | :improper]},
          {"module", :rack, []},
          nil
        ] do
      assert {^bad, [%{path: @path, reason: :invalid_value}]} = NodeFunction.check(bad, @path)
    end
  end
end
