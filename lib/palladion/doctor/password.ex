defmodule Palladion.Doctor.Password do
  @moduledoc false
  # Internal: gets a password from where the command line says. What is returned is a function or a
  # `Palladion.Secret`, and never the text.

  alias Palladion.Doctor.Arguments
  alias Palladion.Secret

  @doc false
  @spec fetch(Arguments.password()) ::
          {:ok, Secret.t() | (() -> String.t()) | nil} | {:error, String.t()}
  def fetch(nil), do: {:ok, nil}

  def fetch({:env, variable}) do
    if System.get_env(variable, "") == "",
      do: {:error, "the environment variable #{variable} is not set, or empty"},
      else: {:ok, fn -> System.fetch_env!(variable) end}
  end

  def fetch(:stdin), do: read("standard input has no password")

  def fetch(:prompt) do
    with {:ok, terminal} <- terminal(),
         :ok <- stty("-echo", terminal) do
      try do
        IO.write(:stderr, "Password: ")
        read("there is no password")
      after
        stty("echo", terminal)
        IO.write(:stderr, "\n")
      end
    else
      :error ->
        {:error,
         "there is no terminal where a password can be typed unseen; use --password-env or " <>
           "--password-stdin"}
    end
  end

  defp read(missing) do
    with line when is_binary(line) <- IO.read(:stdio, :line),
         password when password != "" <- String.trim_trailing(line, "\n") do
      {:ok, password |> String.trim_trailing("\r") |> Secret.wrap()}
    else
      _ -> {:error, missing}
    end
  end

  # The VM's children have no terminal of their own, so it is named to them. Erlang can't stop the
  # echo by itself before OTP 26, and not outside of its shell.
  defp terminal do
    case System.cmd("ps", ["-o", "tty=", "-p", System.pid()], stderr_to_stdout: true) do
      {text, 0} -> existing("/dev/" <> String.trim(text))
      _ -> :error
    end
  rescue
    ErlangError -> :error
  end

  defp existing(path) do
    case File.stat(path) do
      {:ok, %{type: :device}} -> {:ok, path}
      _ -> :error
    end
  end

  defp stty(mode, terminal) do
    case System.cmd("sh", ["-c", ~S(stty "$0" < "$1"), mode, terminal], stderr_to_stdout: true) do
      {_, 0} -> :ok
      _ -> :error
    end
  rescue
    ErlangError -> :error
  end
end
