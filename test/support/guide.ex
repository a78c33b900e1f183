defmodule Palladion.Test.Guide do
  @moduledoc """
  What stands in a guide, so that tests do it as it stands there.

      [yaml] = Guide.blocks("auth-password", "yaml")
      Guide.compile("auth-custom")
      for block <- Guide.configurations("auth-sasl"), do: Guide.options(block, "/etc/my_app/ca.crt": ca)
  """

  @folder Path.expand("../../guides", __DIR__)

  @doc "The text of a guide, by its name."
  @spec read(String.t()) :: String.t()
  def read(name), do: File.read!(Path.join(@folder, name <> ".md"))

  @doc "The blocks of a language, in their order."
  @spec blocks(String.t(), String.t()) :: [String.t()]
  def blocks(name, language) do
    for [_, block] <- Regex.scan(~r/^```#{language}\n(.*?)^```$/ms, read(name)), do: block
  end

  @doc "Those that configure a cluster."
  @spec configurations(String.t()) :: [String.t()]
  def configurations(name) do
    for "config :my_app, MyApp.DB," <> _ = block <- blocks(name, "elixir"), do: block
  end

  @doc "The options of such a block; each key of `places` is replaced by its value before."
  @spec options(String.t(), keyword(String.t())) :: keyword()
  def options("config :my_app, MyApp.DB," <> options, places \\ []) do
    text =
      Enum.reduce(places, options, fn {place, path}, text ->
        String.replace(text, Atom.to_string(place), path)
      end)

    {options, _bindings} = Code.eval_string("[#{text}]")
    options
  end

  @doc "Those that are calls, such as `:ok = Palladion.reconnect(MyApp.DB)`."
  @spec calls(String.t()) :: [String.t()]
  def calls(name), do: for(":ok = " <> _ = block <- blocks(name, "elixir"), do: block)

  @doc """
  Compiles the modules of a guide, which are those of `MyApp`, or of `namespace`: two tests may want them
  at once.
  """
  @spec compile(String.t(), String.t()) :: [module()]
  def compile(name, namespace \\ "MyApp") do
    for "defmodule MyApp." <> rest <- blocks(name, "elixir"),
        code = "defmodule #{namespace}." <> rest,
        {module, _binary} <- Code.compile_string(code, "guides/#{name}.md"),
        do: module
  end

  @doc "A configuration's text in lines, to be compared."
  @spec lines(String.t()) :: [String.t()]
  def lines(text) do
    for line <- String.split(text, "\n", trim: true), not String.starts_with?(line, "#"), do: line
  end
end
