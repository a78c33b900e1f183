defmodule Palladion.Config.NodeTemplateTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.NodeTemplate
  alias Palladion.Node

  @variables ~w(address port host_id datacenter rack)

  test "unknown variables, and braces without their other half" do
    assert NodeTemplate.check("no variable") == []
    assert NodeTemplate.check("{rack}-{port}") == []
    assert ["has an unknown variable {rac}, did you mean {rack}?"] = NodeTemplate.check("{rac}")
    assert ["has an unknown variable {}, there are {address}, " <> _] = NodeTemplate.check("{}")
    assert [_, _] = NodeTemplate.check("{a}.{b}")

    for text <- ["{", "}", "{rack", "rack}", "{{rack}", "{rack}}"] do
      assert ["has a brace without its other half: " <> _] = NodeTemplate.check(text)
    end
  end

  test "any mixture of texts and variables is filled, or says what is missing" do
    seed = {System.unique_integer([:positive]), 2, 3}
    :rand.seed(:exsss, seed)

    for _ <- 1..500 do
      parts = for _ <- 1..:rand.uniform(6), do: part()
      node = struct(Node, for(name <- @variables, do: {String.to_atom(name), value()}))
      template = Enum.map_join(parts, &written/1)
      hint = "seed #{inspect(seed)}, #{inspect(template)}, #{inspect(node)}"

      needed = for {:variable, name} <- parts, do: name
      missing = Enum.filter(needed, &(known(node, &1) == nil))

      assert NodeTemplate.check(template) == [], hint
      assert NodeTemplate.variables(template) == needed, hint
      assert NodeTemplate.missing(template, node) == missing, hint

      case missing do
        [] ->
          filled = Enum.map_join(parts, &filled(&1, node))
          assert NodeTemplate.fill(template, node) == {:ok, filled}, hint

        [first | _] ->
          assert {:error, text} = NodeTemplate.fill(template, node), hint
          assert text =~ "{#{first}}", hint
      end
    end
  end

  defp part do
    if :rand.uniform(2) == 1,
      do: {:variable, Enum.random(@variables)},
      else: {:text, Enum.random(["", "-", ".example", "rack", "\\1", "ö"])}
  end

  # Values are no templates, whatever they look like.
  defp value, do: Enum.random([nil, "a", "", "{rack}", "\\0", "}", 9042])

  defp written({:variable, name}), do: "{#{name}}"
  defp written({:text, text}), do: text

  defp filled({:variable, name}, node), do: "#{known(node, name)}"
  defp filled({:text, text}, _node), do: text

  defp known(node, name), do: Map.fetch!(node, String.to_existing_atom(name))
end
