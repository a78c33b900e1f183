defmodule Palladion.Config.Auth.Forms do
  @moduledoc false
  # Internal: options that exclude each other. A form is a way to say something, with the names of
  # the options that belong to it alone.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.ConfigError

  @type forms :: [{form :: atom(), [option :: atom()]}]

  @doc false
  # The forms that are given, each with the first of its options that is.
  @spec given(keyword() | map(), forms()) :: [{form :: atom(), option :: atom()}]
  def given(options, forms) do
    for {form, names} <- forms,
        name = Enum.find(names, &(options[&1] != nil)),
        do: {form, name}
  end

  @doc false
  # For each that is given beside the first.
  @spec conflicts([{atom(), atom()}], ConfigError.path()) :: [ConfigError.problem()]
  def conflicts([{_form, first} | others], path) do
    for {_other, name} <- others,
        do: problem(path ++ [name], :conflict, "can't be given together with #{first}:")
  end

  def conflicts([], _path), do: []

  @doc false
  # Options that are `nil` in `above`, of forms that are not in force and so can't lose them, where
  # nothing else says who to be.
  @spec unset(in_force :: [atom()], keyword(), forms()) :: [option :: atom()]
  def unset(in_force, above, forms) do
    if given(above, forms) == [] do
      names = forms |> Keyword.drop(in_force) |> Keyword.values() |> Enum.concat()
      Enum.filter(names, &Keyword.has_key?(above, &1))
    else
      []
    end
  end

  @doc false
  # For each that is `unset/3`.
  @spec missing([atom()], ConfigError.path()) :: [ConfigError.problem()]
  def missing(names, path) do
    message = "is nil, and there is none in force to take away; is an environment variable unset?"
    for name <- names, do: problem(path ++ [name], :required, message)
  end

  @doc false
  # `below` without what is another form's than those of `above`.
  @spec without_others(keyword(), keyword(), forms()) :: keyword()
  def without_others(below, above, forms) do
    kept = Keyword.keys(given(above, forms))

    if kept == [],
      do: below,
      else: Keyword.drop(below, forms |> Keyword.drop(kept) |> Keyword.values() |> Enum.concat())
  end
end
